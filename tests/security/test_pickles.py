"""Nothing in a file is ever run, in any format that can carry a program."""

import io
import json
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import tiny
from foreign import random_params

from sdjax.checkpoints.convert import nvidia, openai, unirep
from sdjax.data.corpus import Corpus
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.features import file as feature_file
from sdjax.model.classifier import Classifier


class Runs:
    """Unpickled, it makes a folder."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@pytest.fixture
def mark(tmp_path):
    """Where a folder appears if a program was run."""
    return tmp_path / "was-run"


def objects(mark) -> np.ndarray:
    array = np.empty(3, object)
    array[:] = [Runs(mark)] * 3
    return array


def npy(mark) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, objects(mark), allow_pickle=True)
    return buffer.getvalue()


def into_npz(path, name, mark) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.npy", npy(mark))


def features_npz(folder, mark, run):
    into_npz(folder / "x.npz", "features", mark)
    return lambda: feature_file.load(folder / "x.npz")


def features_npy(folder, mark, run):
    (folder / "x.npy").write_bytes(npy(mark))
    (folder / "x.json").write_text(json.dumps({"columns": ["features"]}))
    return lambda: feature_file.load(folder / "x.npy")


def metadata_of_features(folder, mark, run):
    into_npz(folder / "x.npz", "metadata", mark)
    return lambda: feature_file.load(folder / "x.npz")


def classifier(folder, mark, run):
    made = Classifier(
        *("binary", ("a", "b"), np.ones((1, 3)), np.zeros(1)), np.array([0.5])
    )
    made.save(folder / "made")
    (folder / "made" / "coef.npy").write_bytes(npy(mark))
    described = folder / "made" / "classifier.json"
    data = json.loads(described.read_text())
    del data["digests"], data["xxh3_128"]
    described.write_text(json.dumps(data))
    return lambda: Classifier.load(folder / "made")


def corpus(folder, mark, run):
    import hashlib

    shutil.copytree(run.corpus, folder / "corpus")
    offsets = folder / "corpus" / "train" / "00000.offsets.npy"
    offsets.write_bytes(npy(mark))
    labels = offsets.with_name("00000.labels.npy")
    labels.unlink(missing_ok=True)
    path = folder / "corpus" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest.pop("xxh3_128")
    digest = hashlib.sha256(offsets.read_bytes()).hexdigest()
    manifest["splits"]["train"][0]["index_sha256"] = digest
    path.write_text(json.dumps(manifest))
    return lambda: list(Corpus.open(folder / "corpus").examples("train"))


def openai_array(folder, mark, run):
    model = tiny.model()
    openai.write(model, random_params(model), Normalisation(), folder / "model")
    (folder / "model" / "3.npy").write_bytes(npy(mark))
    return lambda: openai.read(folder / "model")


def unirep_pickle(folder, mark, run):
    path = folder / "model_weights.pkl"
    path.write_bytes(pickle.dumps((Runs(mark), (), ())))
    return lambda: unirep.read(path)


def unirep_npz(folder, mark, run):
    into_npz(folder / "model_weights.npz", "a", mark)
    return lambda: unirep.read(folder / "model_weights.npz")


def torch_zip(folder, mark, run):
    with zipfile.ZipFile(folder / "m.pt", "w") as archive:
        archive.writestr("m/data.pkl", pickle.dumps({"encoder": Runs(mark)}, 2))
        archive.writestr("m/version", "3")
    return lambda: nvidia.read(folder / "m.pt")


def torch_stream(folder, mark, run):
    parts = [0x1950A86A20F9469CFC6C, 1001, {}, Runs(mark), []]
    (folder / "m.pt").write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))
    return lambda: nvidia.read(folder / "m.pt")


FORMATS = [
    *(features_npz, features_npy, metadata_of_features, classifier, corpus),
    *(openai_array, unirep_pickle, unirep_npz, torch_zip, torch_stream),
]


@pytest.mark.parametrize("make", FORMATS, ids=lambda f: f.__name__)
def test_a_pickle_is_refused_and_not_run(make, tmp_path, mark, tiny_run):
    read = make(tmp_path, mark, tiny_run)
    with pytest.raises(InputError) as refused:
        read()
    assert not mark.exists()
    assert "allow_pickle" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_trap_works(mark):
    """What these tests look for does happen where a pickle is run."""
    pickle.loads(pickle.dumps(Runs(mark)))
    assert mark.is_dir()


def test_no_module_can_run_a_pickle():
    """Only the restricted reader uses `pickle`; NumPy is always told not to."""
    import ast
    from pathlib import Path

    import sdjax

    package = Path(sdjax.__file__).parent
    for path in package.rglob("*.py"):
        name = path.relative_to(package).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert called not in ("pickle.loads", "eval", "exec", "joblib.load"), name
            if called in ("pickle.load", "pickle.Unpickler"):
                assert name == "checkpoints/convert/unpickle.py"
            for keyword in getattr(node, "keywords", ()):
                if keyword.arg == "allow_pickle":
                    assert ast.unparse(keyword.value) == "False", name
