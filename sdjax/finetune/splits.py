"""Labelled texts of train, valid and test, and what tells them from others."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from xxhash import xxh3_128

from sdjax.data.read_report import ReadReport
from sdjax.data.sources import Input
from sdjax.errors import InputError
from sdjax.features.file import FeatureSet
from sdjax.features.strings import packed
from sdjax.probe.targets import Targets, read_targets


class Labelled(NamedTuple):
    """Texts with labels as positions (`Targets.positions`), int64[N] or [N, K]."""

    texts: list[str]
    positions: np.ndarray


def read_splits(
    inputs: Mapping[str, Input], normalisation: dict
) -> tuple[dict[str, FeatureSet], dict[str, ReadReport]]:
    """Read labelled texts; they have no features yet.

    Args:
        inputs: by split.
        normalisation: of the model, as JSON.

    Returns:
        Texts and labels by split, the row numbers in the place of features; what was
        read and what skipped, by split.

    Raises:
        InputError: a split has no labelled text; as `Input.examples`.
    """
    reports = {name: ReadReport() for name in inputs}
    sets = {}
    for name, opened in inputs.items():
        report = reports[name]
        examples = list(opened.examples(report))
        if not examples:
            raise InputError(f"{name}: no labelled text; {report.summary()}")
        rows = np.array([e.row for e in examples], np.int64)
        sets[name] = FeatureSet(
            # The labels are checked before minutes of reading: no features yet.
            features=rows[:, None].astype(np.float32),
            labels=np.array([e.label for e in examples], np.float32),
            ids=rows,
            texts=[e.text for e in examples],
            metadata={
                "label_keys": list(opened.label_keys),
                "classes": opened.classes,
                "normalisation": normalisation,
            },
        )
    return sets, reports


def as_labelled(
    sets: Mapping[str, FeatureSet],
) -> tuple[Targets, dict[str, Labelled]]:
    """Learn the task from the labels of the first split, and number all of them by it.

    Raises:
        InputError: as `read_targets`.
    """
    targets = read_targets(sets)
    splits = {
        name: Labelled(given.texts, targets.positions_of(given))
        for name, given in sets.items()
    }
    return targets, splits


def digest_of(split: Labelled) -> str:
    """Return the digest of texts and labels, in their order."""
    data, offsets = packed(split.texts)
    digest = xxh3_128(data)
    for array in (offsets, np.ascontiguousarray(split.positions)):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
