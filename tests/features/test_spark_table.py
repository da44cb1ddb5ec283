"""Tables on a real Spark of this machine: what one machine writes, and no row twice."""

import gzip
import json
import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny
from fixtures_run import assert_refused
from foreign import random_params

from sdjax.checkpoints import published
from sdjax.data import pieces
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import open_input
from sdjax.data.spark import clear_errors, session
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.features import spark_table, tables
from sdjax.inference import spark

pyspark = pytest.importorskip("pyspark", reason="needs pyspark")
pytestmark = [
    pytest.mark.skipif(not shutil.which("java"), reason="needs Java"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyspark"),
]
ENGINE = "--engine", "spark", "--spark-master", "local[2]"
ROWS = 60


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A published model that nobody trained."""
    folder, small = tmp_path_factory.mktemp("model") / "m", tiny.model()
    published.write(small, random_params(small), Normalisation(), folder)
    return folder


@pytest.fixture(scope="module")
def cluster():
    """Two threads of Spark, whose workers have one device, as those of a user."""
    flags = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", flags)
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        with session("local[2,2]", "tests", progress=False) as made:
            yield made


@pytest.fixture(autouse=True)
def small(monkeypatch, cluster):
    """Small pieces and tasks, in a session that the commands find."""
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1500)
    monkeypatch.setattr(spark_table, "TASK_BYTES", 400)
    monkeypatch.setattr(tables, "CHUNK_ROWS", 8)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two files of JSON lines, with bad lines and rows, and a compressed one."""
    folder = tmp_path_factory.mktemp("inputs")
    lines = [
        json.dumps({"id": n, "text": f"text {n % 7} " * (n % 5), "y": n % 2}).encode()
        for n in range(ROWS)
    ]
    lines[20] = b"{"
    lines[31] = b'{"id": 31, "text": "caf\xe9", "y": 1}'
    (folder / "a.jsonl").write_bytes(b"\n".join(lines))
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines[:30])))
    more = [
        json.dumps({"id": 0.5, "text": "more", "y": None, "new": [n]}) for n in range(9)
    ]
    (folder / "c.jsonl").write_text("\n".join(more))
    return folder


def assert_same_table(folder: Path, file: Path, added: list[str]) -> None:
    """A folder of several files has the rows, the columns and the numbers of a file."""
    assert len(list(folder.iterdir())) > 3
    found, wanted = pq.read_table(folder), pq.read_table(file)
    assert found.schema.equals(wanted.schema)
    about = [json.loads(t.schema.metadata[b"sdjax-table"]) for t in (found, wanted)]
    about[1].pop("skipped")  # the files are written before that is known
    assert about[0] == about[1]
    for name in wanted.column_names:
        if name in added:
            pair = [np.float32(t[name].to_pylist()) for t in (found, wanted)]
            np.testing.assert_allclose(*pair, rtol=0, atol=1e-6)
        else:
            assert found[name].to_pylist() == wanted[name].to_pylist()


def test_classify_writes_the_same_table_as_one_machine(
    model, inputs, command, tmp_path
):
    arguments = "classify", model, "--unit", 3, "--units", 1, 5
    arguments += "--input", inputs, "--label-key", "y"
    here = command.sdjax(*arguments, "--output", tmp_path / "here.parquet")
    there = command.sdjax(*arguments, "--output", tmp_path / "there", *ENGINE)
    assert (here.status, there.status) == (0, 0), there.err
    units = [f"cell_last_{n}" for n in (3, 1, 5)]
    assert_same_table(tmp_path / "there", tmp_path / "here.parquet", units)
    assert here.out.partition(": ")[2] == there.out.partition(": ")[2]
    assert "a.jsonl:21" in here.err
    assert here.err.splitlines()[-1] == there.err.splitlines()[-1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["here.parquet", "there"]
    again = command.sdjax(*arguments, "--output", tmp_path / "there", *ENGINE)
    assert_refused(again, "there exists already")
    for given, words in (
        (["--output", tmp_path / "x.csv", *ENGINE], ["x.csv", "folder"]),
        (["--output", tmp_path / "x", *ENGINE, "--restart"], ["--restart"]),
        (["--output", tmp_path / "x.csv", *ENGINE[2:]], ["--spark-master local[2]"]),
    ):
        assert_refused(command.sdjax(*arguments, *given), *words)


def test_featurize_numbers_rows_through_all_pieces(model, inputs, command, tmp_path):
    arguments = "--checkpoint", model, "--input", inputs, "--keep", "id"
    arguments += "--units", 3, "--pooling", "last", "mean", "--max-bad-fraction", 1
    here = command.featurize(*arguments, "--output", tmp_path / "here.parquet")
    there = command.featurize(*arguments, "--output", tmp_path / "there", *ENGINE)
    assert (here.status, there.status) == (0, 0), there.err
    units = ["cell_last_3", "cell_mean_3"]
    assert_same_table(tmp_path / "there", tmp_path / "here.parquet", units)


def failing_once(mark, labels, columns):
    """Fail, the first time that it is called, when an attempt has written its file."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return
    raise OSError("the first attempt fails")


def test_an_attempt_that_failed_after_writing_leaves_no_row(
    model, inputs, tmp_path, cluster
):
    from pyspark import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    opened, report = open_input(str(inputs)), ReadReport()
    done = spark_table.write(
        cluster,
        opened,
        spark.scorer(model, unit="3"),
        tmp_path / "out",
        report,
        note=partial(failing_once, tmp_path / "failed"),
    )
    assert (tmp_path / "failed").exists()
    ids = pq.read_table(tmp_path / "out")["id"].to_pylist()
    assert len(ids) == done.rows == report.read - 3  # that are no rows at all
    first = [n for n in range(ROWS) if n not in (20, 31)]
    assert ids == [*first, *first[:29], *[0.5] * 9]


def killed(labels, columns):
    """End a worker process as the system does that has no memory left."""
    os.kill(os.getpid(), signal.SIGKILL)


def refused(cluster, opened, score, output, **options) -> str:
    with pytest.raises(InputError) as error, clear_errors():
        spark_table.write(cluster, opened, score, output, ReadReport(), **options)
    assert not output.exists() and "\n" not in str(error.value)
    return str(error.value)


def test_what_a_worker_lacks_is_said_in_one_line(
    model, inputs, tmp_path, cluster, monkeypatch
):
    from pyspark import cloudpickle

    opened = open_input(str(inputs / "c.jsonl"))
    shutil.copytree(model, tmp_path / "run")
    score = spark.scorer(tmp_path / "run", unit="3")
    shutil.rmtree(tmp_path / "run")
    line = refused(cluster, opened, score, tmp_path / "out")
    assert str(tmp_path / "run") in line and "all workers see" in line
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    score = spark.scorer(model, unit="3")
    line = refused(cluster, opened, score, tmp_path / "out", note=killed)
    assert "memory" in line and "spark.executor.memoryOverhead" in line
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr(cluster.sparkContext, "pythonExec", str(bare))
    line = refused(cluster, opened, score, tmp_path / "out")
    assert "has no module" in line and "install sdjax" in line
