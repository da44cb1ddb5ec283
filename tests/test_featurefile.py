"""The features file comes back as it was written, or not at all."""

import numpy as np
import pytest

from sdjax import featurefile
from sdjax.errors import InputError
from sdjax.featurefile import FeatureSet

TEXTS = ["plain", "", "caf\u00e9 \u6620\u753b \U0001f600", "two\nlines", "lone \ud800"]


def feature_set(**changes) -> FeatureSet:
    count = len(TEXTS)
    values = {
        "features": np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32),
        "labels": np.arange(count, dtype=np.float32) % 2,
        "ids": np.arange(count, dtype=np.int64) * 7,
        "texts": TEXTS,
        "metadata": {"checkpoint": "runs/x", "step": 3, "normalisation": {"a": False}},
    }
    return FeatureSet(**{**values, **changes})


@pytest.mark.parametrize("labels", [np.array([0, 1, 1, 0, 1], np.float32), None])
def test_round_trip(tmp_path, labels):
    given = feature_set(labels=labels)
    featurefile.save(tmp_path / "new" / "a.npz", given)
    read = featurefile.load(tmp_path / "new" / "a.npz")
    np.testing.assert_array_equal(read.features, given.features)
    np.testing.assert_array_equal(read.ids, given.ids)
    assert read.features.dtype == np.float32 and read.ids.dtype == np.int64
    assert read.texts == TEXTS
    assert read.metadata == given.metadata
    if labels is not None:
        np.testing.assert_array_equal(read.labels, given.labels)
        assert read.labels.dtype == np.float32
    else:
        assert read.labels is None


def test_missing_labels_of_some_texts_are_kept(tmp_path):
    labels = np.array([0, np.nan, 1, 0, 1], np.float32)
    featurefile.save(tmp_path / "a.npz", feature_set(labels=labels))
    np.testing.assert_array_equal(featurefile.load(tmp_path / "a.npz").labels, labels)


def test_failed_write_keeps_the_older_file_and_leaves_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    featurefile.save(path, feature_set())

    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="No space left"):
        featurefile.save(path, feature_set(labels=None))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]
    assert featurefile.load(path).labels is not None


def test_save_refuses_what_load_would(tmp_path):
    bad = feature_set()
    bad.features[2, 1] = np.nan
    with pytest.raises(InputError, match="row 2 are not finite"):
        featurefile.save(tmp_path / "a.npz", bad)
    with pytest.raises(InputError, match="2 ids for 5 rows"):
        featurefile.save(tmp_path / "a.npz", feature_set(ids=np.arange(2)))
    with pytest.raises(InputError, match=r"shape \(5,\)"):
        featurefile.save(tmp_path / "a.npz", feature_set(features=np.zeros(5)))
    assert not list(tmp_path.iterdir())


def test_load_refuses_other_files(tmp_path):
    with pytest.raises(InputError, match="no such features file"):
        featurefile.load(tmp_path / "none.npz")
    path = tmp_path / "a.npz"
    path.write_text("sentence,label\n")
    with pytest.raises(InputError, match="not a features file"):
        featurefile.load(path)
    np.save(tmp_path / "b.npy", np.zeros(3))
    with pytest.raises(InputError, match="not a features file"):
        featurefile.load(tmp_path / "b.npy")
    np.savez(path, features=np.zeros((2, 2)), ids=np.arange(2))
    with pytest.raises(InputError, match="no text_bytes, text_offsets, metadata"):
        featurefile.load(path)


def test_load_refuses_damaged_files(tmp_path):
    path = tmp_path / "a.npz"
    featurefile.save(path, feature_set())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut short"):
        featurefile.load(path)
    start = whole.index(feature_set().features.tobytes())
    path.write_bytes(whole[:start] + b"\0\0\0\0" + whole[start + 4 :])
    with pytest.raises(InputError, match="a.npz: not a features file, or cut short"):
        featurefile.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": b'{"format": "other"}'}, "format 'other'"),
        ({"metadata": b"[1]"}, "not a JSON object"),
        ({"metadata": b"{"}, "not a JSON object"),
        ({"text_offsets": [0, 5]}, "1 texts for 5 rows"),
        ({"labels": [0.0, 1.0]}, "2 labels for 5 rows"),
        ({"features": np.full((5, 3), np.inf)}, "row 0 are not finite"),
    ],
)
def test_load_refuses_arrays_that_do_not_fit(tmp_path, change, message):
    path = tmp_path / "a.npz"
    featurefile.save(path, feature_set())
    with np.load(path) as archive:
        arrays = dict(archive)
    for name, value in change.items():
        is_text = isinstance(value, bytes)
        arrays[name] = np.frombuffer(value, np.uint8) if is_text else np.array(value)
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=message):
        featurefile.load(path)


def test_load_runs_no_pickle(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, features=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="not a features file"):
        featurefile.load(path)
