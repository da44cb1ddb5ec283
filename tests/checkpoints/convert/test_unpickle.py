"""The restricted unpickler: arrays come out, nothing else is ever called."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from sdjax.checkpoints.convert import unpickle
from sdjax.errors import InputError

PLACE = Path("weights.pkl")


def read(data: bytes, allowed=unpickle.NUMPY):
    value = unpickle.load(io.BytesIO(data), PLACE, allowed)
    return unpickle.resolve(value, PLACE)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_come_out_as_they_went_in(protocol):
    value = {
        "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big endian": np.arange(3, dtype=">i4"),
        "strided": np.arange(6, dtype=np.float16)[::2],
        "nested": [(np.float32(3), 1, None), {"x": "text", 2: b"bytes"}],
        "empty": np.zeros((0, 3)),
    }
    again = read(pickle.dumps(value, protocol))
    for key in ("matrix", "fortran", "big endian", "strided", "empty"):
        np.testing.assert_array_equal(again[key], value[key])
        assert again[key].dtype.newbyteorder("=") == value[key].dtype.newbyteorder("=")
    assert again["nested"] == value["nested"]


class Calls:
    """Pickled, it is a call; `with_numpy` hides it inside of an array."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, "posix.system"),
        (eval, "builtins.eval"),
        (getattr, "builtins.getattr"),
        (np.load, "numpy.load"),
        (np.memmap, "numpy.memmap"),
        (pickle.loads, "_pickle.loads"),
    ],
)
def test_a_call_of_anything_else_is_refused_by_name(function, name):
    for value in (Calls(function, "1"), [np.ones(2), {"a": Calls(function, "1")}]):
        with pytest.raises(InputError, match=rf"asks for {name}.*nothing of it was"):
            read(pickle.dumps(value))


def test_nothing_has_been_run_when_it_is_refused(tmp_path):
    data = pickle.dumps([Calls(Path.touch, tmp_path / "ran")])
    with pytest.raises(InputError, match="asks for"):
        read(data)
    pickle.loads(data)  # as any other reader would have
    assert (tmp_path / "ran").exists()


def test_arrays_of_objects_and_odd_dtypes_are_refused():
    structured = np.zeros(2, [("a", "f4"), ("b", "i4")])
    for array in (np.array([{}], object), structured, np.array(["text"])):
        with pytest.raises(InputError, match=r"weights\.pkl: .*arrays of dtype"):
            read(pickle.dumps(array))


def test_a_pickle_cannot_change_what_it_has_been_handed():
    # GLOBAL dtype, then BUILD on the class itself, as on an instance.
    attack = b"cnumpy\ndtype\n}X\x04\x00\x00\x00evilK\x01sb."
    with pytest.raises(InputError, match="damaged"):
        read(attack)
    # GLOBAL _reconstruct, then attributes of the function.
    attack = (
        b"cnumpy.core.multiarray\n_reconstruct\nN}X\x04\x00\x00\x00evilK\x01s\x86b."
    )
    with pytest.raises(InputError, match="damaged"):
        read(attack)
    assert not hasattr(unpickle.NUMPY["numpy.dtype"], "evil")
    assert not hasattr(unpickle.NUMPY["numpy.core.multiarray._reconstruct"], "evil")


def test_numbers_that_do_not_fit_their_shape_are_refused():
    data = pickle.dumps(np.zeros(4, np.float32), 2).replace(b"K\x04\x85", b"K\x09\x85")
    with pytest.raises(InputError, match="damaged"):
        read(data)


def test_what_is_cut_short_or_no_pickle_is_refused():
    whole = pickle.dumps({"a": np.arange(100.0)})
    for data in (b"", b"hello", whole[:-1], whole[: len(whole) // 2], whole[:3]):
        with pytest.raises(InputError, match=r"weights\.pkl: damaged, cut short"):
            read(data)


def test_shared_and_endless_structures_come_to_an_end():
    shared = [np.ones(1)]
    for _ in range(60):
        shared = [shared, shared]  # 2^60 arrays, walked naively
    assert len(read(pickle.dumps(shared))) == 2
    endless = []
    endless.append(endless)
    with pytest.raises(InputError, match="damaged"):
        read(pickle.dumps(endless))


def test_damaged_sizes_take_no_memory():
    for data in (
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # remembers None as object 2^31 - 1
        b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.",  # 2^40 bytes to come
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\x00\x00\x00.",
    ):
        with pytest.raises(InputError, match="damaged"):
            read(data)
