"""The three forms of a features file: `.npz`, `.npy` to map into memory, `.parquet`.

All hold the same columns: features, ids, labels where there are any, and each text
(and each given id) as bytes and offsets. Where the texts are not kept they are empty,
and there is a hash of each. `.npz` is one file. With `.npy` there is a
file for each column (`x.npy`, `x.ids.npy`, ..., and `x.json`, which is written last).
In Parquet texts and ids are strings, and the metadata is the file's.
"""

import json
import os
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from sdjax.bounds import check_zip
from sdjax.errors import Damaged, InputError
from sdjax.features import parquet
from sdjax.files import move_files, replacing, write_whole
from sdjax.integrity import (
    Verdict,
    array_digest,
    array_reason,
    opened,
    parse_object,
    sealed,
)
from sdjax.portable import read_metadata, stored_metadata

FORMAT = "sdjax-features-2"
_READABLE = ("sdjax-features-1", FORMAT)  # the first names no classes
SUFFIXES = (".npz", ".npy", ".parquet")
NEEDED = ("features", "ids", "text_bytes", "text_offsets")
OPTIONAL = ("labels", "given_bytes", "given_offsets", "text_hashes")

_AGAIN = "write it again with featurize.py"


def check_suffix(path: Path) -> None:
    """Refuse a name that stands for none of the forms.

    Raises:
        InputError: names the endings that there are.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} must end in {', '.join(SUFFIXES)}")


def as_bytes(metadata: dict) -> bytes:
    """Return the metadata with the mark of the format and its own digest, as JSON."""
    return json.dumps(sealed({"format": FORMAT, **metadata})).encode()


def install(folder: Path, columns: Collection[str], path: Path, metadata: dict) -> None:
    """Make a features file of columns that lie in a folder as `<column>.npy`.

    Memory is bounded. An older file at `path` is replaced at the end; for `.npy` the
    columns are moved, so that nothing is written twice.

    Raises:
        OSError: it could not be written.
    """
    names = [name for name in (*NEEDED, *OPTIONAL) if name in columns]
    digests = {name: _column_digest(folder, name, path) for name in names}
    metadata = stored_metadata(metadata, path.parent) | {"digests": digests}
    if path.suffix == ".npy":
        _install_npy(folder, path, names, metadata)
        return
    with replacing(path, durable=True) as temporary:
        if path.suffix == ".npz":
            with zipfile.ZipFile(temporary, "w", allowZip64=True) as archive:
                for name in names:
                    archive.write(folder / f"{name}.npy", f"{name}.npy")
                with archive.open("metadata.npy", "w") as file:
                    data = np.frombuffer(as_bytes(metadata), np.uint8)
                    np.lib.format.write_array(file, data)
        else:
            parquet.write(folder, temporary, names, as_bytes(metadata))


def _column_digest(folder: Path, name: str, path: Path) -> str:
    """Return the digest of a column, as it will be read from the features file."""
    if path.suffix == ".parquet" and name in ("text_bytes", "given_bytes"):
        return parquet.text_digest(folder, name.removesuffix("_bytes"))
    return array_digest(mapped(folder / f"{name}.npy"))


def mapped(path: Path) -> np.ndarray:
    """Map an array into memory, which is not possible where it has no bytes."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:
        return np.load(path, allow_pickle=False)


def read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Return the columns of a features file, and its metadata.

    Raises:
        InputError: it is no features file.
        Damaged: it is cut short, or a column is not what was written.
    """
    columns, metadata = _read(path)
    place = Path(os.path.realpath(path)) if path.is_symlink() else path
    metadata = read_metadata(metadata, place.parent)
    digests = metadata.pop("digests", None)
    for name in sorted({*columns, *digests}) if digests else ():
        if name not in columns or array_digest(columns[name]) != digests.get(name):
            raise _differs(path, name)
    return columns, metadata


def verify(path: Path) -> Verdict:
    """Compare a features file with what was written.

    Raises:
        InputError: it is no features file.
    """
    try:
        columns, metadata = _read(path)
    except Damaged as error:
        return Verdict(problems=[str(error)])
    digests = metadata.get("digests")
    if not digests:
        return Verdict(without=[f"features file {path}"])
    verdict = Verdict(checked=1)
    for name in sorted({*columns, *digests}):
        if name in columns and array_digest(columns[name]) == digests.get(name):
            verdict.checked += 1
        else:
            verdict.problems.append(str(_differs(path, name)))
    return verdict


def _differs(path: Path, name: str) -> Damaged:
    place = _beside(path, name) if path.suffix == ".npy" else path
    return Damaged(
        f"{place}: damaged, the column {name} is not what was written; {_AGAIN}"
    )


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"{path}: a features file ends in {', '.join(SUFFIXES)}; make one of texts"
            " with sdjax featurize"
        )
    readers = {".npy": _read_npy, ".parquet": parquet.read}
    try:
        columns, metadata = readers.get(path.suffix, _read_npz)(path)
    except InputError:
        raise
    except Exception as error:  # of a damaged file zipfile and NumPy raise any type
        reason = array_reason(error)
        raise Damaged(
            f"{path}: not a features file, or cut short ({reason}); {_AGAIN}"
        ) from error
    missing = [name for name in NEEDED if name not in columns]
    missing += ["metadata"] if metadata is None else []
    if missing:
        raise InputError(
            f"{path}: not a features file: no {', '.join(missing)}; "
            "write it with featurize.py"
        )
    _check_columns(path, columns)
    return columns, _checked_metadata(path, metadata)


_KINDS = {
    "features": ("f", (2,)),
    "labels": ("f", (1, 2)),
    "ids": ("iu", (1,)),
    "text_bytes": ("u", (1,)),
    "text_offsets": ("i", (1,)),
    "given_bytes": ("u", (1,)),
    "given_offsets": ("i", (1,)),
    "text_hashes": ("u", (2,)),
}
_WORDS = {"f": "numbers with a point", "i": "whole numbers", "u": "bytes"}


def _check_columns(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Refuse columns of another kind, and places in the texts that are not there."""
    for name, array in columns.items():
        kinds, dimensions = _KINDS.get(name, (None, ()))
        if kinds is None:
            raise InputError(f"{path}: there is no column {name!r}; {_AGAIN}")
        if array.dtype.kind not in kinds or array.ndim not in dimensions:
            raise InputError(
                f"{path}: the column {name} has dtype {array.dtype} and shape"
                f" {array.shape}, expected {_WORDS[kinds[0]]}; {_AGAIN}"
            )
    for kind in ("text", "given"):
        offsets = columns.get(f"{kind}_offsets")
        if offsets is None:
            continue
        size = len(columns.get(f"{kind}_bytes", ()))
        ends = offsets[:1].tolist() in ([], [0]) and offsets[-1:].tolist() in (
            [],
            [size],
        )
        if not ends or (np.diff(offsets) < 0).any():
            raise Damaged(
                f"{path}: damaged, the column {kind}_offsets names places that are not"
                f" there; {_AGAIN}"
            )


def _checked_metadata(path: Path, data: bytes) -> dict:
    """The metadata without its format mark, which has to be ours."""
    try:
        metadata = opened(parse_object(data), path, _AGAIN)
        metadata.pop("columns", None)
        found = metadata.pop("format", None)
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path}: metadata is not a JSON object; write it with featurize.py"
        ) from error
    if found not in _READABLE:
        raise InputError(
            f"{path}: format {found!r}, this version reads {FORMAT!r}; {_AGAIN}"
        )
    return metadata


def _read_npz(path: Path) -> tuple[dict, bytes | None]:
    check_zip(path)
    # Opened here: `np.load` leaves a damaged file open.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        columns = {name: archive[name] for name in archive.files}
    metadata = columns.pop("metadata", None)
    return columns, None if metadata is None else metadata.tobytes()


def _beside(path: Path, name: str) -> Path:
    """Where a column of a `.npy` features file lies."""
    return path if name == "features" else path.with_suffix(f".{name}.npy")


def _install_npy(folder: Path, path: Path, names: list[str], metadata: dict) -> None:
    described = path.with_suffix(".json")
    described.unlink(missing_ok=True)  # from here on the older file does not open
    for name in OPTIONAL:
        _beside(path, name).unlink(missing_ok=True)
    move_files((folder / f"{name}.npy", _beside(path, name)) for name in names)
    write_whole(described, as_bytes(metadata | {"columns": names}), durable=True)


def _read_npy(path: Path) -> tuple[dict, bytes | None]:
    described = path.with_suffix(".json")
    if not described.is_file():
        return {"features": mapped(path)}, None
    data = described.read_bytes()
    columns = {
        name: mapped(_beside(path, name))
        for name in opened(parse_object(data), described, _AGAIN)["columns"]
        if _beside(path, name).is_file()
    }
    return columns, data
