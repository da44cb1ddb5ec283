"""Texts of test that also occur in what was fitted or chosen by."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sdjax.data.text import Normalisation
from sdjax.errors import InputError, UnreadableText
from sdjax.features.file import FeatureSet
from sdjax.features.strings import hashes

MEASURED = "test"


def find_overlap(splits: Mapping[str, FeatureSet]) -> dict[str, np.ndarray] | None:
    """Find the rows of the other splits whose text is also in test.

    Texts are compared as the model reads them, after normalisation, by their hashes,
    which a features file without texts has.

    Args:
        splits: by name, "test" among them.

    Returns:
        bool[N] by the name of each other split; None where a split holds neither texts
        nor hashes.
    """
    if not all(map(_is_known, splits.values())):
        return None
    digests = {name: _digests(split) for name, split in splits.items()}
    measured = set(digests.pop(MEASURED))
    return {
        name: np.array([digest in measured for digest in found], bool)
        for name, found in digests.items()
    }


def warnings(splits: Mapping[str, FeatureSet], found: Mapping | None) -> list[str]:
    """Say what overlaps, a line for each split; [] where nothing does.

    Args:
        splits: as `find_overlap` got them.
        found: what it returned.
    """
    if found is None:
        return [
            "overlap of test with train unknown: not all features files hold texts or"
            " hashes of them"
        ]
    measured = _digests(splits[MEASURED])
    lines = []
    for name, rows in found.items():
        if rows.any():
            known = set(_digests(splits[name]))
            count = sum(digest in known for digest in measured)
            lines.append(
                f"{count:,} of {len(measured):,} texts of test also occur in {name}:"
                " what is measured on test is not what unseen texts would give"
            )
    return lines


def without(
    splits: Mapping[str, FeatureSet], found: Mapping[str, np.ndarray]
) -> dict[str, FeatureSet]:
    """Leave the rows that `find_overlap` found out of their splits; test stays whole.

    Raises:
        InputError: nothing is left of a split.
    """
    kept = dict(splits)
    for name, rows in found.items():
        if rows.all():
            raise InputError(
                f"{name}: all of its texts are also in test; give other texts"
            )
        if rows.any():
            kept[name] = _chosen(splits[name], np.flatnonzero(~rows))
    return kept


def _is_known(split: FeatureSet) -> bool:
    return split.text_hashes is not None or any(split.texts)


def _digests(split: FeatureSet) -> list[bytes]:
    if split.text_hashes is not None:
        return [row.tobytes() for row in split.text_hashes]
    normalisation = Normalisation.from_json(split.metadata.get("normalisation") or {})
    read = [_read(text, normalisation) for text in split.texts]
    return [row.tobytes() for row in hashes(read)]


def _read(text: str, normalisation: Normalisation) -> bytes:
    try:
        return normalisation.encode(text)
    except UnreadableText:
        return text.encode("utf-8", "surrogatepass")


def _chosen(split: FeatureSet, rows: np.ndarray) -> FeatureSet:
    def strings(values: Sequence[str] | None) -> list[str] | None:
        return None if values is None else [values[row] for row in rows.tolist()]

    return replace(
        split,
        features=split.features[rows],
        labels=None if split.labels is None else split.labels[rows],
        ids=split.ids[rows],
        texts=strings(split.texts),
        given_ids=strings(split.given_ids),
        text_hashes=None if split.text_hashes is None else split.text_hashes[rows],
    )
