"""A column out of all proportion is named, with the ratio; nothing is scaled."""

import numpy as np
import pytest

from sdjax.features import file as feature_file
from sdjax.features.file import FeatureSet
from sdjax.probe.l1_probe import outsized

RANDOM = np.random.default_rng(0)


def test_a_column_a_million_times_larger_is_found_with_its_ratio():
    features = RANDOM.normal(size=(200, 9)).astype(np.float32)
    assert outsized(features) == []
    features[:, 4] *= 1e6
    features[:, 7] *= 1e5
    (first, ratio), (second, _) = outsized(features)
    assert (first, second) == (4, 7)
    assert ratio == pytest.approx(1e6, rel=0.3)


def test_an_offset_is_no_spread_and_dead_columns_are_no_median():
    features = RANDOM.normal(size=(200, 9)).astype(np.float32)
    features[:, 2] += 1e6
    features[:, 5:] = 0
    assert outsized(features) == []
    assert outsized(np.zeros((5, 3), np.float32)) == []


def test_the_probe_warns_and_goes_on(command, tmp_path):
    paths = []
    for split in ("train", "valid", "test"):
        labels = np.arange(40, dtype=np.float32) % 2
        features = RANDOM.normal(size=(40, 6)).astype(np.float32)
        features[:, 1] += 3 * labels
        features[:, 3] *= 1e6
        ids = np.arange(40)
        texts = [f"{split} {i}" for i in ids]
        made = FeatureSet(features, labels, ids, texts, {})
        feature_file.save(tmp_path / f"{split}.npz", made)
        paths += [f"--{split}", tmp_path / f"{split}.npz"]
    options = ("--draws", 0, "--no-bag-of-words", "--workers", 1)
    done = command.sdjax("probe", *paths, "--out", tmp_path / "report", *options)
    assert done.status == 0, done.err
    assert "train.npz: column 3 varies" in done.err
    assert "nothing is scaled" in done.err
