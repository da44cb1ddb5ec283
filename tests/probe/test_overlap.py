"""Texts of test that train has, too: found after normalisation, counted, left out."""

import numpy as np
import pytest

from sdjax.errors import InputError
from sdjax.features.file import FeatureSet
from sdjax.probe import overlap


def given(texts) -> FeatureSet:
    count = len(texts)
    return FeatureSet(
        features=np.arange(count, dtype=np.float32)[:, None],
        labels=np.arange(count, dtype=np.float32) % 2,
        ids=np.arange(count),
        texts=texts,
        given_ids=[f"id {i}" for i in range(count)],
    )


SPLITS = {
    "train": given(["a", "one\ntwo", "c", "Tom &amp; I"]),
    "valid": given(["e", "f"]),
    "test": given(["one two ", "g", "Tom & I"]),
}


def test_equal_after_normalisation_is_found_and_counted():
    found = overlap.find_overlap(SPLITS)
    assert found["train"].tolist() == [False, True, False, True]
    assert not found["valid"].any()
    (line,) = overlap.warnings(SPLITS, found)
    assert line.startswith("2 of 3 texts of test also occur in train")


def test_what_overlaps_is_left_out_of_train_and_never_of_test():
    kept = overlap.without(SPLITS, overlap.find_overlap(SPLITS))
    assert kept["train"].texts == ["a", "c"]
    assert kept["train"].features.tolist() == [[0], [2]]
    assert kept["train"].given_ids == ["id 0", "id 2"]
    assert kept["train"].labels.tolist() == [0, 0]
    assert kept["test"] is SPLITS["test"] and kept["valid"] is SPLITS["valid"]
    same = SPLITS | {"train": given(["g"])}
    with pytest.raises(InputError, match="train: all of its texts are also in test"):
        overlap.without(same, overlap.find_overlap(same))


def test_without_texts_it_is_unknown():
    splits = SPLITS | {"valid": given(["", ""])}
    assert overlap.find_overlap(splits) is None
    assert "unknown" in overlap.warnings(splits, None)[0]
