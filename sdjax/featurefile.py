"""The features file: cell states of labelled texts, written and read without jax."""

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from sdjax.errors import InputError, naming

FORMAT = "sdjax-features-1"
_ARRAYS = ("features", "ids", "text_bytes", "text_offsets", "metadata")
STATES = ("cell", "hidden")
POOLINGS = ("last", "mean", "max", "min")
_UNREADABLE = (zipfile.BadZipFile, ValueError, EOFError, TypeError, AttributeError)


@dataclass(frozen=True)
class FeatureSet:
    """Features of some texts, in the order of the texts, and where they came from.

    Args:
        features: float32[N, units * poolings], one row per text; read-only and mapped
            into memory where the form of the file allows it.
        labels: float32[N], NaN where a text has none; float32[N, K] where several label
            columns were asked for; None when no text has one.
        ids: int64[N], 0-based row number in the input.
        texts: N strings, as given.
        metadata: JSON-able; checkpoint, step, params_sha256, units, state ("cell" or
            "hidden"), pooling (a name, or a list of names), precision, normalisation,
            input, label_keys and skipped.
        given_ids: N strings, the column that `--id-key` named; None without one.
    """

    features: np.ndarray
    labels: np.ndarray | None
    ids: np.ndarray
    texts: Sequence[str]
    metadata: dict = field(default_factory=dict)
    given_ids: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.features)


def pooling_kinds(pooling: str | Sequence[str]) -> tuple[str, ...]:
    """Return the poolings that a name, or a list of names, stands for.

    Raises:
        InputError: there is no such pooling, one is named twice, or none is.
    """
    kinds = (pooling,) if isinstance(pooling, str) else pooling
    fits = isinstance(kinds, list | tuple) and all(kind in POOLINGS for kind in kinds)
    if not fits or not kinds or len(set(kinds)) < len(kinds):
        raise InputError(
            f"pooling {pooling!r} does not exist: use one of {list(POOLINGS)}, or a"
            " list of different ones"
        )
    return tuple(kinds)


def feature_names(state: str, pooling: str | Sequence[str], units: int) -> list[str]:
    """Return the name of every feature: state, pooling, unit, as "cell_last_2388"."""
    kinds = pooling_kinds(pooling)
    return [f"{state}_{kind}_{unit}" for kind in kinds for unit in range(units)]


def save(path: str | os.PathLike, feature_set: FeatureSet) -> None:
    """Write a features file; an interrupted write leaves no file that opens.

    Args:
        path: of the `.npz` to write; an older file there is replaced at the end.
        feature_set: what to write.

    Raises:
        InputError: an array's length differs from the others, or a value is not finite.
        OSError: names `path`; it could not be written.
    """
    path = Path(path)
    _check(path, feature_set)
    # surrogatepass: a text is kept as given, even where it is not valid Unicode.
    encoded = [text.encode("utf-8", "surrogatepass") for text in feature_set.texts]
    arrays = {
        "features": np.asarray(feature_set.features, np.float32),
        "ids": np.asarray(feature_set.ids, np.int64),
        "text_bytes": np.frombuffer(b"".join(encoded), np.uint8),
        "text_offsets": np.cumsum([0, *map(len, encoded)], dtype=np.int64),
        "metadata": _as_bytes({"format": FORMAT, **feature_set.metadata}),
    }
    if feature_set.labels is not None:
        arrays["labels"] = np.asarray(feature_set.labels, np.float32)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def load(path: str | os.PathLike) -> FeatureSet:
    """Read a features file.

    Raises:
        InputError: there is no such file, it is no features file, it is cut short or
            damaged, or a feature is not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such features file; write it with featurize.py")
    try:
        # Opened here: `np.load` leaves a damaged file open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        raise InputError(
            f"{path}: not a features file, or cut short ({error}); "
            "write it again with featurize.py"
        ) from error
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise InputError(
            f"{path}: not a features file: no {', '.join(missing)}; "
            "write it with featurize.py"
        )
    metadata = _metadata(path, arrays["metadata"])
    data, offsets = arrays["text_bytes"].tobytes(), arrays["text_offsets"]
    feature_set = FeatureSet(
        features=arrays["features"],
        labels=arrays.get("labels"),
        ids=arrays["ids"],
        texts=[
            data[start:end].decode("utf-8", "surrogatepass")
            for start, end in pairwise(offsets.tolist())
        ],
        metadata=metadata,
    )
    _check(path, feature_set)
    return feature_set


def _metadata(path: Path, data: np.ndarray) -> dict:
    """The metadata without its format mark, which has to be ours."""
    try:
        metadata = json.loads(data.tobytes())
        found = metadata.pop("format", None)
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path}: metadata is not a JSON object; write it with featurize.py"
        ) from error
    if found != FORMAT:
        raise InputError(
            f"{path}: format {found!r}, this version reads {FORMAT!r}; "
            "write it again with featurize.py"
        )
    return metadata


def _check(path: Path, feature_set: FeatureSet) -> None:
    """Refuse arrays that do not belong together and features that are not numbers."""
    features = feature_set.features
    if features.ndim != 2:
        raise InputError(f"{path}: features have shape {features.shape}, not [N, H]")
    lengths = {"ids": len(feature_set.ids), "texts": len(feature_set.texts)}
    if feature_set.labels is not None:
        lengths["labels"] = len(feature_set.labels)
    for name, length in lengths.items():
        if length != len(features):
            raise InputError(
                f"{path}: {length} {name} for {len(features)} rows of features; "
                "write it again with featurize.py"
            )
    _check_finite(path, features)


def _check_finite(name: object, features: np.ndarray) -> None:
    # Row by row: a mask of a large file would cost a quarter of it in memory.
    for row, values in enumerate(features):
        if not np.isfinite(values).all():
            raise InputError(
                f"{name}: features of row {row} are not finite; "
                "did training of this checkpoint diverge?"
            )


def _as_bytes(value: dict) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)
