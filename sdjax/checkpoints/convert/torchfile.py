"""PyTorch's files (`.pt`) read and written without PyTorch.

Both layouts are read: the zip archive of PyTorch 1.6 and later, and the stream of
pickles before it. Tensors come as views of the file mapped into memory. The zip archive
is written, such that `torch.load` opens it with `weights_only=True`.

Reference: torch/serialization.py of PyTorch.
"""

import io
import math
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from sdjax.checkpoints.convert import unpickle
from sdjax.errors import InputError

_ZIP = b"PK\x03\x04"
_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the older layout
_PROTOCOL = 1001  # the second one
_DTYPES = {
    "Float": "f4",
    "Half": "f2",
    "Double": "f8",
    "Long": "i8",
    "Int": "i4",
    "Short": "i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "?",
}


class _Kind(NamedTuple):
    """What a storage holds: a NumPy type code, byte order left out."""

    code: str


class _Stored(NamedTuple):
    """A storage, by its key in the file: `count` numbers."""

    kind: _Kind
    key: str
    count: int


class _Tensor(NamedTuple):
    """A view of a storage; offset and strides in numbers, not bytes."""

    stored: _Stored
    offset: int
    size: tuple
    stride: tuple


def _rebuild_tensor(stored, offset, size, stride, *_) -> _Tensor:
    return _Tensor(stored, offset, size, stride)


def _rebuild_parameter(tensor, *_) -> _Tensor:
    return tensor


# What a file of tensors names; `argparse.Namespace` holds the arguments of a training.
ALLOWED: dict[str, object] = {
    **unpickle.NUMPY,
    **{f"torch.{name}Storage": _Kind(code) for name, code in _DTYPES.items()},
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "collections.OrderedDict": unpickle.Dictionary,
    "argparse.Namespace": unpickle.Record,
}


def read(path: Path) -> object:
    """Read a file: dictionaries, lists and numbers, tensors as NumPy arrays.

    The arrays are mapped into memory and cannot be written to.

    Raises:
        InputError: not a PyTorch file, cut short, or it names what is no tensor; a
            tensor reaches outside of its storage.
    """
    try:
        data = np.memmap(path, np.uint8, "r")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; expected a PyTorch file") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder; expected a PyTorch file") from error
    except ValueError as error:
        raise InputError(f"{path}: is empty; expected a PyTorch file") from error
    layout = _read_zip if data[:4].tobytes() == _ZIP else _read_stream
    try:
        value, storage, order = layout(path, data)
    except (InputError, OSError):
        raise
    except Exception as error:  # what stands where something else should
        raise unpickle.damaged(path, error) from error

    def array(tensor: _Tensor) -> np.ndarray:
        return _view(tensor, path, storage, order)

    return unpickle.resolve(value, path, {_Tensor: array})


def _persistent(place: Path) -> Callable[[object], _Stored]:
    """Return what makes a storage of the persistent ids of a file."""

    def stored(key: object) -> _Stored:
        if not isinstance(key, tuple) or len(key) < 5 or key[0] != "storage":
            raise InputError(f"{place}: refers to {str(key)[:80]}, not to a storage")
        _, kind, name, _, count, *view = key
        right = isinstance(kind, _Kind) and isinstance(name, str) and _natural(count)
        if not right or view not in ([], [None]):
            raise InputError(f"{place}: refers to {str(key)[:80]}, not to a storage")
        return _Stored(kind, name, count)

    return stored


def _read_zip(path: Path, data: np.ndarray):
    """Return the pickled value, a function from key to bytes, and the byte order."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(
            f"{path}: cut short or damaged, not a whole zip archive ({error})"
        ) from error
    root = next((n[:-8] for n in entries if n.endswith("data.pkl")), None)
    if root is None:
        raise InputError(f"{path}: a zip archive without data.pkl, not of PyTorch")

    def content(name: str) -> np.ndarray:
        if name not in entries:
            raise InputError(f"{path}: {name} is missing; it is cut short or damaged")
        return _entry(path, data, entries[name])

    pickled = io.BytesIO(content(f"{root}data.pkl").tobytes())
    value = unpickle.load(pickled, path, ALLOWED, _persistent(path))
    order = "<"
    if f"{root}byteorder" in entries:
        order = {b"little": "<", b"big": ">"}[content(f"{root}byteorder").tobytes()]
    return value, lambda stored: content(f"{root}data/{stored.key}"), order


def _entry(path: Path, data: np.ndarray, entry: zipfile.ZipInfo) -> np.ndarray:
    """Return the bytes of a file in the archive, which are not compressed."""
    start = entry.header_offset
    header = data[start : start + 30].tobytes()
    stored = entry.compress_type == zipfile.ZIP_STORED
    if len(header) == 30 and header[:4] == _ZIP and stored:
        start += 30 + sum(struct.unpack("<HH", header[26:]))
        content = data[start : start + entry.file_size]
        if len(content) == entry.file_size:
            return content
    raise InputError(f"{path}: {entry.filename} is damaged, cut short or compressed")


def _read_stream(path: Path, data: np.ndarray):
    """As `_read_zip`, of the older layout: pickles, then storages one after another."""
    with open(path, "rb") as file:

        def pickled(persistent=None) -> object:
            return unpickle.load(file, path, ALLOWED, persistent)

        if data[0] != 0x80 or pickled() != _MAGIC or pickled() != _PROTOCOL:
            raise InputError(f"{path}: not a PyTorch file")
        little = pickled().get("little_endian") is not False
        stored = _persistent(path)
        known = {}

        def remember(key: object) -> _Stored:
            found = stored(key)
            known[found.key] = found
            return found

        value, keys, start = pickled(remember), pickled(), file.tell()
    storages = {}
    for key in keys:
        if key not in known or len(data) < start + 8:
            raise InputError(f"{path}: cut short or damaged, at storage {key}")
        count = int.from_bytes(data[start : start + 8].tobytes(), "little")
        start += 8
        end = start + count * np.dtype(known[key].kind.code).itemsize
        if count != known[key].count or len(data) < end:
            raise InputError(
                f"{path}: cut short or damaged: storage {key} has"
                f" {len(data) - start:,} bytes left, {known[key].count:,} numbers were"
                " expected"
            )
        storages[key], start = data[start:end], end

    def content(stored: _Stored) -> np.ndarray:
        return storages[stored.key]

    return value, content, "<" if little else ">"


def _natural(value: object) -> bool:
    return type(value) is int and value >= 0


def _view(
    tensor: _Tensor,
    path: Path,
    storage: Callable[[_Stored], np.ndarray],
    order: str,
) -> np.ndarray:
    """Return a tensor as an array; one that reaches outside of its storage is refused.

    So is one with more numbers than its storage, which would be any size in memory.
    """
    stored, offset, size, stride = tensor
    numbers = [offset, *size, *stride]
    if not isinstance(stored, _Stored) or not all(map(_natural, numbers)):
        raise InputError(f"{path}: a tensor of size {size} is no view of a storage")
    content = storage(stored)
    dtype = np.dtype(stored.kind.code).newbyteorder(order)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    have = min(stored.count, len(content) // dtype.itemsize)
    count = math.prod(size)
    if count and (last >= have or count > have):
        raise InputError(
            f"{path}: a tensor of size {tuple(size)}, stride {tuple(stride)} and offset"
            f" {offset} reaches outside of its storage of {have:,} numbers"
        )
    strides = [s * dtype.itemsize for s in stride]
    content = content if count else np.empty(0, np.uint8)
    start = offset * dtype.itemsize if count else 0
    return np.ndarray(size, dtype, content, start, strides)


def write(path: Path, value: Mapping) -> None:
    """Write nested dictionaries of arrays, float32, as the zip archive.

    Args:
        path: written as it is; what is there is replaced.
        value: string keys; arrays are stored contiguous, one copied at a time.
    """
    arrays: list[np.ndarray] = []
    pickled = io.BytesIO()
    pickled.write(b"\x80\x02")  # protocol 2, as torch.save
    _write_dictionary(pickled, value, arrays)
    pickled.write(b".")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickled.getvalue())
        archive.writestr("archive/byteorder", "little")
        for key, array in enumerate(arrays):
            entry = zipfile.ZipInfo(f"archive/data/{key}")
            entry.file_size = array.nbytes
            with archive.open(entry, "w") as file:
                file.write(np.ascontiguousarray(array, "<f4").data)
        archive.writestr("archive/version", "3\n")


# Opcodes of pickle: the standard library's would import torch to name what is in it.
_ORDERED = b"ccollections\nOrderedDict\n)R"  # an empty one


def _write_dictionary(file: BinaryIO, value: Mapping, arrays: list) -> None:
    file.write(_ORDERED + b"(")
    for key, item in value.items():
        file.write(_text(key))
        if isinstance(item, Mapping):
            _write_dictionary(file, item, arrays)
        else:
            file.write(_tensor(item, len(arrays)))
            arrays.append(item)
    file.write(b"u")


def _tensor(array: np.ndarray, key: int) -> bytes:
    strides = [math.prod(array.shape[i + 1 :]) for i in range(array.ndim)]
    storage = _text("storage") + b"ctorch\nFloatStorage\n" + _text(str(key))
    storage += _text("cpu") + _number(array.size)
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + (b"(" + storage + b"tQ")
        + _number(0)
        + (b"(" + b"".join(map(_number, array.shape)) + b"t")
        + (b"(" + b"".join(map(_number, strides)) + b"t")
        + (b"\x89" + _ORDERED + b"tR")
    )


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _number(number: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", number)
