"""The three forms of a features file: `.npz`, `.npy` to map into memory, `.parquet`.

All hold the same columns: features, ids, labels where there are any, and each text
(and each given id) as bytes and offsets. `.npz` is one file. With `.npy` there is a
file for each column (`x.npy`, `x.ids.npy`, ..., and `x.json`, which is written last).
In Parquet texts and ids are strings, and the metadata is the file's.
"""

import json
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from sdjax.errors import InputError
from sdjax.features import parquet
from sdjax.files import move_files, replacing, write_whole

FORMAT = "sdjax-features-2"
_READABLE = ("sdjax-features-1", FORMAT)  # the first names no classes
SUFFIXES = (".npz", ".npy", ".parquet")
NEEDED = ("features", "ids", "text_bytes", "text_offsets")
OPTIONAL = ("labels", "given_bytes", "given_offsets")

_UNREADABLE = (
    zipfile.BadZipFile,
    ValueError,
    EOFError,
    TypeError,
    AttributeError,
    KeyError,
)


def check_suffix(path: Path) -> None:
    """Refuse a name that stands for none of the forms, or one that cannot be written.

    Raises:
        InputError: names the endings that there are, or what to install.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} must end in {', '.join(SUFFIXES)}")
    if path.suffix == ".parquet":
        parquet.pyarrow()


def as_bytes(metadata: dict) -> bytes:
    """Return the metadata with the mark of the format, as JSON."""
    return json.dumps({"format": FORMAT, **metadata}).encode()


def install(folder: Path, columns: Collection[str], path: Path, metadata: dict) -> None:
    """Make a features file of columns that lie in a folder as `<column>.npy`.

    Memory is bounded. An older file at `path` is replaced at the end; for `.npy` the
    columns are moved, so that nothing is written twice.

    Raises:
        OSError: it could not be written.
    """
    names = [name for name in (*NEEDED, *OPTIONAL) if name in columns]
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


def read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Return the columns of a features file, and its metadata.

    Raises:
        InputError: it is no features file, or it is cut short or damaged.
    """
    readers = {".npy": _read_npy, ".parquet": parquet.read}
    try:
        columns, metadata = readers.get(path.suffix, _read_npz)(path)
    except _UNREADABLE as error:
        raise InputError(
            f"{path}: not a features file, or cut short ({error}); "
            "write it again with featurize.py"
        ) from error
    missing = [name for name in NEEDED if name not in columns]
    missing += ["metadata"] if metadata is None else []
    if missing:
        raise InputError(
            f"{path}: not a features file: no {', '.join(missing)}; "
            "write it with featurize.py"
        )
    return columns, _checked_metadata(path, metadata)


def _checked_metadata(path: Path, data: bytes) -> dict:
    """The metadata without its format mark, which has to be ours."""
    try:
        metadata = json.loads(data)
        found = metadata.pop("format", None)
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path}: metadata is not a JSON object; write it with featurize.py"
        ) from error
    if found not in _READABLE:
        raise InputError(
            f"{path}: format {found!r}, this version reads {FORMAT!r}; "
            "write it again with featurize.py"
        )
    return metadata


def _read_npz(path: Path) -> tuple[dict, bytes | None]:
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
        return {"features": np.load(path, mmap_mode="r", allow_pickle=False)}, None
    metadata = json.loads(described.read_bytes())
    columns = {
        name: np.load(_beside(path, name), mmap_mode="r", allow_pickle=False)
        for name in metadata.pop("columns")
        if _beside(path, name).is_file()
    }
    return columns, json.dumps(metadata).encode()
