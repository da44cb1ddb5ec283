"""Pickles read without running anything that they ask for.

A pickle names functions and has them called: whoever writes one can run any code where
it is read. Here every name is looked up in a table of stand-ins that build arrays out
of numbers and do nothing else; a name that is not in the table is refused, and nothing
has been run by then. One reader serves the files of PyTorch and of NumPy, so PyTorch's
own `weights_only`, a dependency of hundreds of megabytes, is not needed for either.
"""

import pickle
import pickletools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sdjax.errors import InputError

# Opcodes that no file of arrays has: other ways to make objects, or to get them.
_ODD_OPCODES = {
    "INST",
    "OBJ",
    "NEWOBJ_EX",
    "PERSID",
    "EXT1",
    "EXT2",
    "EXT4",
    "NEXT_BUFFER",
    "READONLY_BUFFER",
}
_DTYPE = re.compile(r"[fiub][1248]")


class _Call:
    """A function that a pickle may have called, and nothing more of it."""

    # Made anew for every mention: a pickle may set what it has been handed.
    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        self._function = function

    def __call__(self, *arguments):
        return self._function(*arguments)


class Dictionary(dict):
    """Stands in for `collections.OrderedDict`; attributes set on it are forgotten."""

    def __setstate__(self, state):
        pass


class Record:
    """Stands in for `argparse.Namespace`: `values`, a dictionary."""

    def __setstate__(self, state):
        self.values = dict(state)


class _Dtype:
    """Stands in for `numpy.dtype`: numbers only, either byte order."""

    __slots__ = ("dtype",)

    def __init__(self, code: str, align=False, copy=True):
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise ValueError(f"arrays of dtype {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state):
        # version, byte order, and what only dtypes of several fields have
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands in for `numpy.ndarray` until `resolve` puts the array in its place."""

    __slots__ = ("array",)

    def __setstate__(self, state):
        _, shape, dtype, fortran, data = state
        self.array = _array(data, dtype, shape, "F" if fortran else "C")


def _array(data: bytes, dtype: _Dtype, shape: tuple, order: str) -> np.ndarray:
    return np.frombuffer(data, dtype.dtype).reshape(shape, order=order)


def _reconstruct(kind, shape, code) -> _Array:
    return _Array()


def _frombuffer(data, dtype, shape, order) -> _Array:
    made = _Array()
    made.array = _array(data, dtype, shape, order)
    return made


def _scalar(dtype, data) -> _Array:
    return _frombuffer(data, dtype, (), "C")


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """What Python 3 calls `bytes` for in an old protocol: those of an empty array."""
    return b""


# What pickles of NumPy arrays name, NumPy 1 and 2.
NUMPY: dict[str, object] = {
    f"numpy.{core}.{name}": stand_in
    for core in ("core", "_core")
    for name, stand_in in {
        "multiarray._reconstruct": _reconstruct,
        "multiarray.scalar": _scalar,
        "numeric._frombuffer": _frombuffer,
    }.items()
} | {
    "numpy.ndarray": _Array,
    "numpy.dtype": _Dtype,
    "_codecs.encode": _encode,
    "__builtin__.bytes": _no_bytes,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, place, allowed, persistent, encoding):
        super().__init__(file, encoding=encoding)
        self._place, self._allowed, self._persistent = place, allowed, persistent

    def find_class(self, module, name):
        full = f"{module}.{name}"
        if full not in self._allowed:
            shown = full if full.isprintable() else ascii(full)
            raise InputError(
                f"{self._place}: asks for {shown}, which no array of numbers needs;"
                " refused, nothing of it was run"
            )
        found = self._allowed[full]
        if isinstance(found, type):
            return type(found.__name__, (found,), {"__slots__": ()})
        return _Call(found) if callable(found) else found

    def persistent_load(self, key):
        if self._persistent is None:
            raise InputError(f"{self._place}: refers to data outside of the pickle")
        return self._persistent(key)


def load(
    file: BinaryIO,
    place: Path,
    allowed: Mapping[str, object],
    persistent: Callable[[object], object] | None = None,
    encoding: str = "ASCII",
) -> object:
    """Read one pickle; the file stands after it then.

    Args:
        file: open, at the start of the pickle.
        place: names it in messages.
        allowed: what it may name, as "module.name": functions and classes that stand in
            for what is meant, or values that cannot be changed.
        persistent: gives what a persistent id refers to.
        encoding: of the strings of Python 2.

    Returns:
        Numbers, strings, dictionaries, lists, tuples and what `allowed` makes of the
        rest; arrays are put in by `resolve`.

    Raises:
        InputError: it names something else, by that name, or it is damaged.
    """
    try:
        _check_opcodes(file)
        return _Unpickler(file, place, allowed, persistent, encoding).load()
    except InputError:
        raise
    except Exception as error:  # a damaged pickle raises almost anything
        raise damaged(place, error) from error


def _check_opcodes(file: BinaryIO) -> None:
    """Read a pickle's instructions without following them; go back to its start.

    Damaged sizes are found here: the unpickler makes room for as many bytes, or for as
    many objects to remember, as a number says.
    """
    start = file.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name in _ODD_OPCODES:
            raise ValueError(f"it has the opcode {opcode.name}")
        if opcode.name.endswith("PUT") and int(argument) > count:
            raise ValueError(f"it numbers something {argument}")
    file.seek(start)


def resolve(
    value: object,
    place: Path,
    makers: Mapping[type, Callable[[object], object]] | None = None,
) -> object:
    """Put arrays where their stand-ins are in what `load` returned.

    Args:
        value: of dictionaries, lists and tuples, nested.
        place: names the file in messages.
        makers: by type of a stand-in, what makes it an array; NumPy's are known.

    Raises:
        InputError: it is damaged.
    """
    makers = {_Array: lambda stand_in: stand_in.array} | dict(makers or {})
    done = {}  # by identity: what is shared is resolved once, so this ends soon

    def walk(value):
        if id(value) not in done:
            done[id(value)] = value, step(value)
        return done[id(value)][1]

    def step(value):
        for kind, make in makers.items():
            if isinstance(value, kind):
                return make(value)
        if isinstance(value, Record):
            return walk(value.values)
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(walk, value))
        return value

    try:
        return walk(value)
    except InputError:
        raise
    except Exception as error:
        raise damaged(place, error) from error


def damaged(place: Path, error: Exception) -> InputError:
    """Make what is reported of a file whose content makes no sense."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{place}: damaged, cut short or not a pickle ({reason})")
