"""The features file: cell states of labelled texts, written and read without jax."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sdjax.errors import InputError, naming
from sdjax.features import storage
from sdjax.features.strings import Strings, packed


@dataclass(frozen=True)
class FeatureSet:
    """Features of some texts, in the order of the texts, and where they came from.

    Args:
        features: float32[N, units * poolings], one row per text; read-only and mapped
            into memory where the form of the file allows it.
        labels: float32[N], NaN where a text has none; float32[N, K] where several label
            columns were asked for; None when no text has one.
        ids: int64[N], 0-based row number in the input.
        texts: N strings, as given; all empty where the file keeps none.
        metadata: JSON-able; checkpoint, step, params_sha256, units, state ("cell" or
            "hidden"), pooling (a name, or a list of names), precision, normalisation,
            input, label_keys, classes (what labels 0, 1, ... are called where they are
            words) and skipped; of a stack of layers also num_layers and
            layers ("last" or "all").
        given_ids: N strings, the column that `--id-key` named; None without one.
        text_hashes: uint8[N, 16], of each text as the model read it, where the file
            keeps no texts; else None.
    """

    features: np.ndarray
    labels: np.ndarray | None
    ids: np.ndarray
    texts: Sequence[str]
    metadata: dict = field(default_factory=dict)
    given_ids: Sequence[str] | None = None
    text_hashes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.features)


def save(path: str | os.PathLike, feature_set: FeatureSet) -> None:
    """Write a features file; an interrupted write leaves no file that opens.

    Args:
        path: ends in `.npz`, `.npy` or `.parquet`; an older file there is replaced at
            the end.
        feature_set: what to write.

    Raises:
        InputError: an array's length differs from the others, a value is not finite, or
            the path ends in something else.
        OSError: names `path`; it could not be written.
    """
    path = Path(path)
    storage.check_suffix(path)
    _check(path, feature_set)
    columns = {
        "features": np.asarray(feature_set.features, np.float32),
        "ids": np.asarray(feature_set.ids, np.int64),
    }
    columns["text_bytes"], columns["text_offsets"] = packed(feature_set.texts)
    if feature_set.labels is not None:
        columns["labels"] = np.asarray(feature_set.labels, np.float32)
    if feature_set.given_ids is not None:
        given = packed(feature_set.given_ids)
        columns["given_bytes"], columns["given_offsets"] = given
    if feature_set.text_hashes is not None:
        columns["text_hashes"] = np.asarray(feature_set.text_hashes, np.uint8)
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as t:
            folder = Path(t)
            for name, values in columns.items():
                np.save(folder / f"{name}.npy", values, allow_pickle=False)
            storage.install(folder, columns, path, feature_set.metadata)


def load(path: str | os.PathLike) -> FeatureSet:
    """Read a features file; what is in `.npy` is mapped into memory, not read.

    Raises:
        InputError: there is no such file, it is no features file, it is cut short or
            damaged, or a feature is not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such features file; write it with featurize.py")
    columns, metadata = storage.read(path)
    texts = Strings(columns["text_bytes"], columns["text_offsets"])
    given = None
    if "given_bytes" in columns:
        given = Strings(columns["given_bytes"], columns["given_offsets"])
    mapped = path.suffix == ".npy"
    feature_set = FeatureSet(
        features=columns["features"],
        labels=columns.get("labels"),
        ids=columns["ids"],
        # Of mapped features there may be more texts than fit into memory.
        texts=texts if mapped else texts[:],
        metadata=metadata,
        given_ids=given if mapped or given is None else given[:],
        text_hashes=columns.get("text_hashes"),
    )
    _check(path, feature_set, finite=not mapped)  # that would read all of them
    return feature_set


def _check(path: Path, feature_set: FeatureSet, finite: bool = True) -> None:
    """Refuse arrays that do not belong together and features that are not numbers."""
    features = feature_set.features
    if features.ndim != 2:
        raise InputError(f"{path}: features have shape {features.shape}, not [N, H]")
    lengths = {"ids": len(feature_set.ids), "texts": len(feature_set.texts)}
    if feature_set.labels is not None:
        lengths["labels"] = len(feature_set.labels)
    if feature_set.given_ids is not None:
        lengths["given ids"] = len(feature_set.given_ids)
    if feature_set.text_hashes is not None:
        lengths["hashes of texts"] = len(feature_set.text_hashes)
    for name, length in lengths.items():
        if length != len(features):
            raise InputError(
                f"{path}: {length} {name} for {len(features)} rows of features; "
                "write it again with featurize.py"
            )
    if finite:
        _check_finite(path, features)


def _check_finite(name: object, features: np.ndarray) -> None:
    # Row by row: a mask of a large file would cost a quarter of it in memory.
    for row, values in enumerate(features):
        if not np.isfinite(values).all():
            raise InputError(
                f"{name}: features of row {row} are not finite; "
                "did training of this checkpoint diverge?"
            )
