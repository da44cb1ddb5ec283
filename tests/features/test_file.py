"""The features file comes back as it was written, or not at all."""

import json
import zipfile

import numpy as np
import pytest

from sdjax.errors import InputError
from sdjax.features import columns, storage
from sdjax.features import file as feature_file
from sdjax.features import parquet as parquet_form
from sdjax.features.file import FeatureSet
from sdjax.integrity import SEAL

TEXTS = ["plain", "", "caf\u00e9 \u6620\u753b \U0001f600", "two\nlines", "lone \ud800"]


def feature_set(**changes) -> FeatureSet:
    count = len(TEXTS)
    values = {
        "features": np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32),
        "labels": np.arange(count, dtype=np.float32) % 2,
        "ids": np.arange(count, dtype=np.int64) * 7,
        "texts": TEXTS,
        "metadata": {"params_sha256": "x", "step": 3, "normalisation": {"a": False}},
    }
    return FeatureSet(**{**values, **changes})


@pytest.fixture(params=["npz", "npy", "parquet"])
def form(request) -> str:
    return request.param


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"labels": None},
        {"labels": np.array([0, np.nan, 1, 0, 1], np.float32)},
        {"labels": np.eye(5, 2, dtype=np.float32)},
        {"given_ids": ["a", "b", "", "\u00e9", "e" * 99]},
        {"texts": [], "features": np.zeros((0, 3)), "ids": [], "labels": None},
    ],
)
def test_round_trip(tmp_path, form, changes):
    given = feature_set(**changes)
    path = tmp_path / "new" / f"a.{form}"
    feature_file.save(path, given)
    read = feature_file.load(path)
    np.testing.assert_array_equal(read.features, given.features)
    np.testing.assert_array_equal(read.ids, given.ids)
    assert read.features.dtype == np.float32 and read.ids.dtype == np.int64
    lone = "lone \ufffd" if form == "parquet" else "lone \ud800"
    assert list(read.texts) == [t.replace("lone \ud800", lone) for t in given.texts]
    assert read.metadata == given.metadata
    assert given.given_ids == (read.given_ids and list(read.given_ids))
    if given.labels is not None:
        np.testing.assert_array_equal(read.labels, given.labels)
        assert read.labels.dtype == np.float32
    else:
        assert read.labels is None


def test_an_older_file_is_replaced_whole(tmp_path, form):
    path = tmp_path / f"a.{form}"
    feature_file.save(path, feature_set(given_ids=list("abcde")))
    feature_file.save(path, feature_set(labels=None, texts=list("vwxyz")))
    read = feature_file.load(path)
    assert read.labels is None and read.given_ids is None
    assert list(read.texts) == list("vwxyz")


def test_npy_is_mapped_into_memory_and_not_read(tmp_path):
    feature_file.save(tmp_path / "a.npy", feature_set())
    read = feature_file.load(tmp_path / "a.npy")
    assert isinstance(read.features, np.memmap) and isinstance(read.ids, np.memmap)
    assert read.texts[1:3] == TEXTS[1:3] and read.texts[-1] == TEXTS[-1]
    with pytest.raises(IndexError):
        read.texts[5]
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), read.features)


def test_parquet_is_what_others_read(tmp_path):
    library = pytest.importorskip("pyarrow.parquet")
    labels = np.arange(10, dtype=np.float32).reshape(5, 2)
    metadata = {"label_keys": ["joy", "anger"]}
    given = feature_set(labels=labels, metadata=metadata, given_ids=list("abcde"))
    feature_file.save(tmp_path / "a.parquet", given)
    table = library.read_table(tmp_path / "a.parquet")
    assert table.column_names == [
        *("id", "given_id", "text", "label_joy", "label_anger", "features")
    ]
    assert table["text"].to_pylist()[:4] == TEXTS[:4]
    assert table["label_anger"].to_pylist() == [1, 3, 5, 7, 9]
    np.testing.assert_array_equal(table["features"].to_pylist(), given.features)


@pytest.mark.parametrize("limits", [(2, 2**20), (100, 12), (100, 1)])
def test_parquet_in_many_row_groups(tmp_path, monkeypatch, limits):
    library = pytest.importorskip("pyarrow.parquet")
    rows, size = limits
    monkeypatch.setattr(parquet_form, "_GROUP_ROWS", rows)
    monkeypatch.setattr(parquet_form, "_GROUP_BYTES", size)
    path, given = tmp_path / "a.parquet", feature_set(given_ids=list("abcde"))
    feature_file.save(path, given)
    with library.ParquetFile(path) as file:
        assert file.num_row_groups >= 3
    read = feature_file.load(path)
    np.testing.assert_array_equal(read.features, given.features)
    assert read.texts[:4] == TEXTS[:4] and read.given_ids == given.given_ids


def test_feature_names_and_poolings():
    assert columns.feature_names("cell", "last", 2) == [
        "cell_last_0",
        "cell_last_1",
    ]
    names = columns.feature_names("hidden", ["max", "mean"], 1)
    assert names == ["hidden_max_0", "hidden_mean_0"]
    assert columns.pooling_kinds(("min", "last")) == ("min", "last")
    mixed = ["hidden:mean", "last"]
    assert columns.pooling_kinds(mixed) == tuple(mixed)
    names = columns.feature_names("cell", mixed, 4, num_layers=2)
    assert names[:3] == ["hidden_mean_0:0", "hidden_mean_0:1", "hidden_mean_1:0"]
    assert names[-1] == "cell_last_1:1"
    for wrong in ("sum", ["last", "sum"], [], ["last", "last"], None, 3, {"last"}):
        with pytest.raises(InputError, match="pooling .* does not exist"):
            columns.pooling_kinds(wrong)


def test_failed_write_keeps_the_older_file_and_leaves_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    feature_file.save(path, feature_set())

    def full_disk(archive, *names):
        archive.writestr("half", b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "write", full_disk)
    with pytest.raises(OSError, match="No space left"):
        feature_file.save(path, feature_set(labels=None))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]
    assert feature_file.load(path).labels is not None


def test_save_refuses_what_load_would(tmp_path):
    bad = feature_set()
    bad.features[2, 1] = np.nan
    with pytest.raises(InputError, match="row 2 are not finite"):
        feature_file.save(tmp_path / "a.npz", bad)
    with pytest.raises(InputError, match="2 ids for 5 rows"):
        feature_file.save(tmp_path / "a.npz", feature_set(ids=np.arange(2)))
    with pytest.raises(InputError, match="1 given ids for 5 rows"):
        feature_file.save(tmp_path / "a.npz", feature_set(given_ids=["a"]))
    with pytest.raises(InputError, match=r"shape \(5,\)"):
        feature_file.save(tmp_path / "a.npz", feature_set(features=np.zeros(5)))
    with pytest.raises(InputError, match="a.csv must end in .npz, .npy, .parquet"):
        feature_file.save(tmp_path / "a.csv", feature_set())
    assert not list(tmp_path.iterdir())


def test_load_refuses_other_files(tmp_path):
    with pytest.raises(InputError, match="no such features file"):
        feature_file.load(tmp_path / "none.npz")
    path = tmp_path / "a.npz"
    path.write_text("sentence,label\n")
    with pytest.raises(InputError, match="not a features file"):
        feature_file.load(path)
    np.save(tmp_path / "b.npy", np.zeros(3))
    with pytest.raises(InputError, match="not a features file"):
        feature_file.load(tmp_path / "b.npy")
    np.savez(path, features=np.zeros((2, 2)), ids=np.arange(2))
    with pytest.raises(InputError, match="no text_bytes, text_offsets, metadata"):
        feature_file.load(path)


@pytest.mark.parametrize("name", ["a.npy", "a.ids.npy", "a.json"])
def test_load_refuses_what_is_not_all_there(tmp_path, name):
    feature_file.save(tmp_path / "a.npy", feature_set())
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:-1])
    with pytest.raises(InputError, match="a.npy: not a features file"):
        feature_file.load(tmp_path / "a.npy")
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match="a.npy: no"):
        feature_file.load(tmp_path / "a.npy")


def test_load_refuses_damaged_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    feature_file.save(path, feature_set())
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"PAR1" + whole[9:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="a.parquet: not a features file"):
            feature_file.load(path)
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), path)
    with pytest.raises(InputError, match="a.parquet: not a features file: no features"):
        feature_file.load(path)


def test_load_refuses_damaged_files(tmp_path):
    path = tmp_path / "a.npz"
    feature_file.save(path, feature_set())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut short"):
        feature_file.load(path)
    start = whole.index(feature_set().features.tobytes())
    path.write_bytes(whole[:start] + b"\0\0\0\0" + whole[start + 4 :])
    with pytest.raises(InputError, match="a.npz: not a features file, or cut short"):
        feature_file.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": b'{"format": "other"}'}, "format 'other'"),
        ({"metadata": b"[1]"}, "not a JSON object"),
        ({"metadata": b"{"}, "not a JSON object"),
        ({"text_offsets": [0, 5]}, "names places that are not there"),
        ({"labels": [0.0, 1.0]}, "2 labels for 5 rows"),
        ({"features": np.full((5, 3), np.inf)}, "row 0 are not finite"),
    ],
)
def test_load_refuses_arrays_that_do_not_fit(tmp_path, change, message):
    path = tmp_path / "a.npz"
    feature_file.save(path, feature_set())
    with np.load(path) as archive:
        arrays = dict(archive)
    metadata = json.loads(arrays["metadata"].tobytes())
    kept = {k: v for k, v in metadata.items() if k not in (SEAL, "digests")}
    arrays["metadata"] = np.frombuffer(json.dumps(kept).encode(), np.uint8)
    for name, value in change.items():
        is_text = isinstance(value, bytes)
        arrays[name] = np.frombuffer(value, np.uint8) if is_text else np.array(value)
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=message):
        feature_file.load(path)


def test_load_runs_no_pickle(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, features=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="not a features file"):
        feature_file.load(path)


@pytest.mark.parametrize("form", ["npz", "npy"])
def test_files_of_the_first_format_still_open(tmp_path, form, monkeypatch):
    monkeypatch.setattr(storage, "FORMAT", "sdjax-features-1")
    feature_file.save(tmp_path / f"a.{form}", feature_set())
    monkeypatch.undo()
    assert feature_file.load(tmp_path / f"a.{form}").metadata.get("classes") is None
    monkeypatch.setattr(storage, "FORMAT", "sdjax-features-9")
    feature_file.save(tmp_path / f"b.{form}", feature_set())
    monkeypatch.undo()
    with pytest.raises(InputError, match="features-9.* reads 'sdjax-features-2'"):
        feature_file.load(tmp_path / f"b.{form}")
