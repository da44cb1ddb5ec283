"""What is no features file is called so, without NumPy's advice to run it."""

import numpy as np
import pytest
from fixtures_run import assert_refused

from sdjax.errors import InputError
from sdjax.features import file as feature_file
from sdjax.integrity import sealed

FINE = {
    "features": np.zeros((2, 3), np.float32),
    "ids": np.arange(2),
    "text_bytes": np.frombuffer(b"ab", np.uint8),
    "text_offsets": np.array([0, 1, 2]),
}


def write(path, **changes) -> None:
    import json

    described = json.dumps(sealed({"format": "sdjax-features-2"})).encode()
    columns = FINE | {"metadata": np.frombuffer(described, np.uint8)} | changes
    np.savez(path, **columns)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": np.array([["a"], ["b"]])}, "features has dtype <U1"),
        ({"features": np.zeros((2, 3), np.int64)}, "features has dtype int64"),
        ({"features": np.zeros(2, np.float32)}, r"shape \(2,\)"),
        ({"ids": np.array(["a", "b"])}, "ids has dtype"),
        ({"labels": np.array(["pos", "neg"])}, "labels has dtype"),
        ({"text_offsets": np.array([0, 9, 2])}, "names places"),
        ({"text_offsets": np.array([0, 1, 99])}, "names places"),
        ({"more": np.zeros(2)}, "no column 'more'"),
    ],
)
def test_columns_of_another_kind_are_refused(tmp_path, changes, words):
    write(tmp_path / "x.npz", **changes)
    with pytest.raises(InputError, match=words):
        feature_file.load(tmp_path / "x.npz")


def test_the_file_itself_is_fine(tmp_path):
    write(tmp_path / "x.npz")
    assert list(feature_file.load(tmp_path / "x.npz").texts) == ["a", "b"]


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x"])
def test_probe_of_texts_says_what_to_do(command, tmp_path, name):
    (tmp_path / name).write_text("text,label\na,1\n")
    splits = [
        x for s in ("train", "valid", "test") for x in (f"--{s}", tmp_path / name)
    ]
    refused = command.sdjax("probe", *splits, "--out", tmp_path / "report")
    assert_refused(refused, name, "ends in .npz", "sdjax featurize")
    assert "pickle" not in refused.err
