"""PyTorch's files in both layouts, read and written without it."""

import pickle
import zipfile

import numpy as np
import pytest
from torch_files import Tensor, arguments, save_stream, save_zip, state_dict

from sdjax.checkpoints.convert import torchfile
from sdjax.errors import InputError

LAYOUTS = pytest.mark.parametrize("save", [save_zip, save_stream])
ARRAYS = {
    "weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "half": np.linspace(-1, 1, 5).astype(np.float16),
    "deeper": {"bias": np.ones((), np.float32), "none": np.zeros((0, 2), np.float32)},
    "neurons": np.array([3, 1]),
}


@LAYOUTS
def test_tensors_come_as_arrays(tmp_path, save):
    path = tmp_path / "model.pt"
    tensor = Tensor(np.eye(2, dtype=np.float32))
    beside = {"args": arguments(nhid=8, classes=["a"]), "again": [tensor, tensor]}
    save(path, {"sd": state_dict(ARRAYS), **beside})
    read = torchfile.read(path)
    np.testing.assert_array_equal(read["again"], np.stack([np.eye(2)] * 2))
    assert read["args"] == {"nhid": 8, "classes": ["a"]}
    sd = read["sd"]
    pairs = [(sd[k], ARRAYS[k]) for k in ("weight", "half", "neurons")]
    pairs += [(sd["deeper"][k], ARRAYS["deeper"][k]) for k in ("bias", "none")]
    for got, expected in pairs:
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    assert not sd["weight"].flags.writeable


@LAYOUTS
def test_views_are_those_of_their_storage(tmp_path, save):
    array = np.arange(12, dtype=np.float32)
    views = {"transposed": (0, (4, 3), (1, 4)), "part": (2, (2, 2), (4, 2))}
    for view in views.values():
        save(tmp_path / "model.pt", Tensor(array, view))
        offset, size, strides = view
        read = torchfile.read(tmp_path / "model.pt")
        bytes_apart = [4 * s for s in strides]
        expected = np.lib.stride_tricks.as_strided(array[offset:], size, bytes_apart)
        np.testing.assert_array_equal(read, expected)


@LAYOUTS
@pytest.mark.parametrize(
    "view",
    [
        (0, (13,), (1,)),
        (1, (12,), (1,)),
        (0, (3, 4), (5, 1)),
        (10**12, (1,), (1,)),
        (0, (10**9, 10**9), (0, 0)),  # in memory it would be any size
        (-1, (2,), (1,)),
        (11, (2,), (-1,)),
        (0, (-2,), (1,)),
        (0, (2, 2), (1,)),
        (0, (2.0,), (1,)),
    ],
)
def test_a_tensor_outside_of_its_storage_is_refused(tmp_path, save, view):
    save(tmp_path / "model.pt", Tensor(np.zeros(12, np.float32), view))
    with pytest.raises(InputError, match=r"model\.pt: "):
        torchfile.read(tmp_path / "model.pt")


@LAYOUTS
def test_a_call_of_anything_else_is_refused_by_name(tmp_path, save):
    class Evil:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    path = tmp_path / "model.pt"
    for value in (Evil(), {"sd": state_dict({"w": np.ones(2, "f4")}), "args": Evil()}):
        save(path, value)
        with pytest.raises(InputError, match=r"asks for [\w.]*getattr.*was run"):
            torchfile.read(path)
    save(path, {"model": zipfile.ZipFile})  # as a whole module is named by its class
    with pytest.raises(InputError, match=r"asks for zipfile\.ZipFile"):
        torchfile.read(path)
    assert not (tmp_path / "ran").exists()


@LAYOUTS
def test_a_file_cut_short_is_refused(tmp_path, save):
    save(tmp_path / "whole.pt", state_dict(ARRAYS))
    data = (tmp_path / "whole.pt").read_bytes()
    path = tmp_path / "model.pt"
    for size in (0, 1, 3, 10, 100, 250, len(data) // 2, len(data) - 10, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match=r"model\.pt: "):
            torchfile.read(path)


def test_what_is_no_file_of_pytorch_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    for content in (b"hello there", pickle.dumps([1, 2]), pickle.dumps({"a": 1}) * 9):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"model\.pt: (not a Py|damaged)"):
            torchfile.read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(InputError, match=r"without data\.pkl"):
        torchfile.read(path)
    with pytest.raises(InputError, match="is a folder"):
        torchfile.read(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        torchfile.read(tmp_path / "missing.pt")


def test_a_missing_or_compressed_storage_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    save_zip(tmp_path / "whole.pt", Tensor(np.zeros(1000, np.float32)))
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole:
        pickled = whole.read("whole/data.pkl")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickled)
    with pytest.raises(InputError, match=r"model/data/0 is missing"):
        torchfile.read(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data/0", bytes(4000))
    with pytest.raises(InputError, match="compressed"):
        torchfile.read(path)


def test_what_is_written_is_read_back(tmp_path):
    path, array = tmp_path / "model.pt", np.arange(12, dtype=np.float32).reshape(3, 4)
    torchfile.write(path, {"a": {"w": array, "t": array.T}, "b": array[:, 1]})
    read = torchfile.read(path)
    np.testing.assert_array_equal(read["a"]["w"], array)
    np.testing.assert_array_equal(read["a"]["t"], array.T)
    np.testing.assert_array_equal(read["b"], array[:, 1])


def test_pytorch_opens_what_is_written_and_writes_what_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    path, array = tmp_path / "model.pt", np.arange(12, dtype=np.float32).reshape(3, 4)
    torchfile.write(path, {"a": {"w": array.T}})
    (state,) = torch.load(path, weights_only=True).values()
    np.testing.assert_array_equal(state["w"].numpy(), array.T)
    layer = torch.nn.Linear(3, 2)
    for zipped in (True, False):
        torch.save(
            {"sd": layer.state_dict(), "parameter": layer.weight, "none": None},
            path,
            _use_new_zipfile_serialization=zipped,
        )
        read = torchfile.read(path)
        expected = layer.weight.detach().numpy()
        np.testing.assert_array_equal(read["sd"]["weight"], expected)
        np.testing.assert_array_equal(read["parameter"], expected)
        assert read["none"] is None
