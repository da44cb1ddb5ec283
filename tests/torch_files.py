"""Files as PyTorch writes them, in both layouts, without PyTorch."""

import argparse
import collections
import io
import pickle
import struct
import sys
import types
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}


class Tensor:
    """An array that is pickled as a tensor with a storage of its own.

    `view` replaces what is said of it: offset, size and stride, in numbers.
    """

    def __init__(self, array: np.ndarray, view: tuple | None = None):
        self.array = np.ascontiguousarray(array)
        strides = tuple(s // self.array.itemsize for s in self.array.strides)
        self.view = view or (0, self.array.shape, strides)

    def __reduce__(self):
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (Storage(self), *self.view, False, collections.OrderedDict())


class Storage:
    """What a tensor's numbers are in: pickled as a persistent id."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


class Pickler(pickle.Pickler):
    """Numbers the storages that it meets in `tensors`."""

    def __init__(self, file, tensors: list[Tensor], tail: tuple):
        super().__init__(file, protocol=2)
        self._tensors, self._tail = tensors, tail

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        tensor = value.tensor
        if not any(tensor is other for other in self._tensors):
            self._tensors.append(tensor)
        key = [tensor is other for other in self._tensors].index(True)
        kind = getattr(sys.modules["torch"], STORAGES[tensor.array.dtype.name])
        return "storage", kind, str(key), "cuda:0", tensor.array.size, *self._tail


def _pretend() -> dict[str, types.ModuleType]:
    """Return modules with what the pickles name, for `sys.modules`."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*_):
        raise AssertionError("only its name is pickled")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    return {"torch": torch, "torch._utils": utils}


def _pickled(value, tail: tuple) -> tuple[bytes, list[Tensor]]:
    file, tensors = io.BytesIO(), []
    with mock.patch.dict(sys.modules, _pretend()):
        Pickler(file, tensors, tail).dump(value)
    return file.getvalue(), tensors


def save_zip(path: Path, value) -> None:
    """Write the layout of PyTorch 1.6 and later."""
    data, tensors = _pickled(value, ())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{path.stem}/data.pkl", data)
        for key, tensor in enumerate(tensors):
            archive.writestr(f"{path.stem}/data/{key}", tensor.array.tobytes())
        archive.writestr(f"{path.stem}/version", "3\n")


def save_stream(path: Path, value) -> None:
    """Write the layout before that, as files of 2018 have it."""
    data, tensors = _pickled(value, (None,))
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    with open(path, "wb") as file:
        for head in (0x1950A86A20F9469CFC6C, 1001, system):
            pickle.dump(head, file, protocol=2)
        file.write(data)
        pickle.dump([str(key) for key in range(len(tensors))], file, protocol=2)
        for tensor in tensors:
            file.write(struct.pack("<q", tensor.array.size) + tensor.array.tobytes())


def state_dict(arrays: dict) -> collections.OrderedDict:
    """Nested arrays as tensors in what `Module.state_dict` gives."""
    state = collections.OrderedDict()
    for key, value in arrays.items():
        nested = isinstance(value, dict)
        state[key] = state_dict(value) if nested else Tensor(value)
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    return state


def arguments(**values) -> argparse.Namespace:
    """The arguments of a training, as they stand beside a model."""
    return argparse.Namespace(**values)
