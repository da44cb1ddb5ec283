"""A cluster with executors of its own, one of which is killed in the middle."""

import contextlib
import json
import shutil
import sys
import time
from functools import partial

import psutil
import pyarrow.parquet as pq
import pytest
import tiny
from foreign import random_params

from sdjax.checkpoints import published
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import open_input
from sdjax.data.spark import session
from sdjax.data.text import Normalisation
from sdjax.features import spark_table, tables
from sdjax.features.featurizer import TextFeaturizer
from sdjax.inference import spark

pytest.importorskip("pyspark", reason="needs pyspark")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("java"), reason="needs Java"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyspark"),
]
ROWS = 400


def kill_my_executor(folder, labels, columns):
    """Note an attempt that has written its file; the sixth kills its executor."""
    from pyspark import TaskContext

    task = TaskContext.get()
    (folder / f"{task.partitionId()}-{task.taskAttemptId()}").touch()
    if len(list(folder.iterdir())) < 6:
        return
    try:
        (folder.parent / "killed").touch(exist_ok=False)
    except FileExistsError:
        return
    java = "CoarseGrainedExecutorBackend"
    parents = psutil.Process().parents()
    victim = next(p for p in parents if java in " ".join(p.cmdline()))
    (folder.parent / "killed").write_text(str(victim.pid))
    victim.kill()
    time.sleep(600)  # the end of the executor is that of its workers


def executors(jvm: psutil.Process) -> set[int]:
    java = "CoarseGrainedExecutorBackend"
    found = set()
    for child in jvm.children(recursive=True):
        with contextlib.suppress(psutil.Error):  # a helper that has just ended
            if java in " ".join(child.cmdline()):
                found.add(child.pid)
    return found


def test_a_killed_executor_costs_no_row_and_doubles_none(tmp_path, monkeypatch):
    from pyspark import SparkContext, cloudpickle

    monkeypatch.setattr(spark_table, "TASK_BYTES", 400)
    monkeypatch.setattr(tables, "CHUNK_ROWS", 16)
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    folder, small = tmp_path / "model", tiny.model()
    published.write(small, random_params(small), Normalisation(), folder)
    texts = [f"text {n} of {n % 13}" * (1 + n % 3) for n in range(ROWS)]
    source, attempts = tmp_path / "a.jsonl", tmp_path / "attempts"
    rows = (json.dumps({"id": n, "text": text}) for n, text in enumerate(texts))
    source.write_text("\n".join(rows))
    attempts.mkdir()
    with session("local-cluster[2,1,2048]", "tests", progress=False) as cluster:
        jvm, before = psutil.Process(SparkContext._gateway.proc.pid), set()
        while len(before) < 2:  # they start after the session is there
            time.sleep(0.1)
            before = executors(jvm)
        done = spark_table.write(
            cluster,
            open_input(str(source)),
            spark.scorer(folder, unit="3"),
            tmp_path / "out",
            ReadReport(),
            note=partial(kill_my_executor, attempts),
        )
    killed = int((tmp_path / "killed").read_text())
    written = [path.name.partition("-")[0] for path in attempts.iterdir()]
    print(
        f"executors {sorted(before)}, killed {killed}; {done.files} tasks,"
        f" {len(written)} attempts that wrote a file; {done.rows} rows"
    )
    assert killed in before
    assert len(set(written)) == done.files < len(written)  # one wrote for nothing
    table = pq.read_table(tmp_path / "out")
    assert table["id"].to_pylist() == list(range(ROWS))
    wanted = TextFeaturizer(folder).transform(texts)[:, 3]
    assert abs(table["cell_last_3"].to_numpy() - wanted).max() <= 1e-6
    assert not (tmp_path / ".out.spark").exists()
