"""The iterator UDF that scores the rows of a Spark data frame, without a Spark."""

import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tiny
from foreign import random_params

from sdjax.checkpoints import published
from sdjax.data.spark import cause
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.features import spark as columns
from sdjax.features.featurizer import TextFeaturizer
from sdjax.inference import spark

TEXTS = ["I love it", None, "The price was awful, and it broke.", "", "I love it", "x"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A published model that nobody trained."""
    folder, small = tmp_path_factory.mktemp("model") / "m", tiny.model()
    published.write(small, random_params(small), Normalisation(), folder)
    return folder


@pytest.fixture(autouse=True)
def new_worker():
    """Each test is a worker process that has loaded nothing."""
    columns._on_this_worker.cache_clear()
    yield
    columns._on_this_worker.cache_clear()


def batches(sizes=(2, 0, 1, 3), name="text"):
    start = 0
    for size in sizes:
        texts = pa.array(TEXTS[start : start + size], pa.string())
        numbers = pa.array(range(start, start + size), pa.int64())
        yield pa.RecordBatch.from_arrays([numbers, texts], ["n", name])
        start += size


def test_rows_stay_in_their_batches_and_get_what_one_machine_says(model):
    score = spark.scorer(model, unit="3", units=["1"], prefix="m_")
    score.rows_at_once = 4  # so that the batches are read in two groups
    found = list(score(batches()))
    assert [len(batch) for batch in found] == [2, 0, 1, 3]
    table = pa.Table.from_batches(found)
    added = ["m_called", "m_cell_last_3", "m_cell_last_1"]
    assert table.column_names == ["n", "text", *added]
    assert [table.schema.field(name) for name in added] == list(score.added)
    assert table["n"].to_pylist() == list(range(6))
    wanted = TextFeaturizer(model).transform([t or "" for t in TEXTS])
    for row, text, values in zip(table.to_pylist(), TEXTS, wanted, strict=True):
        if text is None:
            assert [row[name] for name in added] == [None] * 3
            continue
        np.testing.assert_allclose(
            [row["m_cell_last_3"], row["m_cell_last_1"]], values[[3, 1]], atol=1e-6
        )
        assert row["m_called"] == ("above" if values[3] > 0 else "below")


def test_pandas_comes_out_where_pandas_goes_in(model):
    score = spark.scorer(model, unit="3")
    (found,) = score(iter([pd.DataFrame({"text": TEXTS, "n": range(6)})]))
    assert list(found) == ["text", "n", "called", "cell_last_3"]
    arrow = pa.Table.from_batches(score(batches()))
    np.testing.assert_array_equal(
        found["cell_last_3"], arrow["cell_last_3"].to_pandas().to_numpy()
    )


def test_a_worker_loads_the_model_once_and_only_then(model, monkeypatch):
    opened, open_scorer = [], spark.open_scorer
    score = spark.scorer(model, unit="3")

    def count(*arguments, **options):
        opened.append(arguments)
        return open_scorer(*arguments, **options)

    monkeypatch.setattr(spark, "open_scorer", count)
    sent = pickle.dumps(score)
    assert len(sent) < 4000  # no model
    for _ in range(3):  # three tasks
        assert sum(map(len, pickle.loads(sent)(batches()))) == 6
    assert len(opened) == 1


def test_another_model_on_a_worker_is_refused(tmp_path):
    small = tiny.model()
    for name, seed in (("a", 0), ("b", 1)):
        params = random_params(small, seed)
        published.write(small, params, Normalisation(), tmp_path / name)
    score = spark.scorer(tmp_path / "a", unit="3")
    (tmp_path / "a").rename(tmp_path / "old")
    with pytest.raises(InputError, match="worker .*/a.* all workers see"):
        list(score(batches()))
    (tmp_path / "b").rename(tmp_path / "a")
    with pytest.raises(InputError, match="worker .*another model"):
        list(score(batches()))


def test_a_text_that_the_codec_cannot_read_has_null(tmp_path):
    model, folder = tiny.model(vocabulary_size=26), tmp_path / "model"
    published.write(model, random_params(model), Normalisation(codec="protein"), folder)
    batch = pa.record_batch({"text": ["MKV", "M1"]})
    (found,) = spark.scorer(folder, unit="1")(iter([batch]))
    assert found["called"].is_null().to_pylist() == [False, True]


def test_columns_that_do_not_fit_are_refused(model):
    score = spark.scorer(model, unit="3")
    with pytest.raises(InputError, match="'called'.*prefix"):
        score.check_names(["text", "called"])
    with pytest.raises(InputError, match="int64"):
        list(score(iter([pa.record_batch({"text": [1, 2]})])))
    with pytest.raises(InputError, match="999"):
        spark.scorer(model, unit="999")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("...\nsdjax.errors.Damaged: a.npy: damaged, x\n\tat java", ["a.npy: damaged"]),
        ("ModuleNotFoundError: No module named 'sdjax.x'", ["sdjax.x", "PYSPARK_PY"]),
        ("org.apache: Python worker exited unexpectedly (crashed)", ["memory"]),
        ("XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory", ["memory"]),
        ("ImportError: libjax.so: failed to map segment from", ["memory"]),
        ("FileNotFoundError: [Errno 2] No such file: 'a.csv'\n", ["a.csv", "share"]),
        ('Cannot run program "py9": error=2', ["py9", "PYSPARK_PYTHON"]),
        ("[PYTHON_VERSION_MISMATCH] Python 3.9 in worker", ["3.9", "PYSPARK_PYTHON"]),
    ],
)
def test_an_error_of_spark_becomes_one_sentence(text, words):
    line = cause(f"Job aborted\n{text}")
    assert "\n" not in line and all(word in line for word in words)
    assert cause("Job aborted\nValueError: a bug") is None
