"""The Spark engine writes the same bytes as the embedded engine."""

import gzip
import json
import shutil

import pytest
from fixtures_corpus import files
from fixtures_run import assert_refused

from sdjax.data import pieces
from sdjax.prepare import synthetic

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("java"), reason="needs Java"),
]
pytest.importorskip("pyspark", reason="needs pyspark")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Write files in three formats, with duplicates and some bad rows."""
    folder = tmp_path_factory.mktemp("inputs")
    rows = [
        {"text": e.text, "stars": e.label, "n": e.row}
        for e in synthetic.reviews(1500, 0)
    ]
    lines = [json.dumps(row).encode() for row in rows]
    lines[700] = b"{"
    lines[900] = b'{"text": "caf\xe9", "stars": 1}'
    lines[1200] = b'{"stars": 1}'
    (folder / "a.jsonl").write_bytes(b"\n".join(lines))
    (folder / "b.json.gz").write_bytes(gzip.compress(b"\n".join(lines[500:900])))
    csv = "".join(f'"{r["text"]}",{1 - r["stars"]}\n' for r in rows[:300])
    (folder / "c.csv").write_text("text,stars\n" + csv)
    return folder


@pytest.mark.parametrize("split", ["shuffled", "contiguous"])
@pytest.mark.parametrize("dedup", ["exact", "none"])
def test_both_engines_write_the_same_corpus(
    inputs, tmp_path, command, monkeypatch, split, dedup
):
    monkeypatch.setattr(pieces, "PIECE_BYTES", 40_000)
    arguments = ["prepare", f"{inputs}/*", "--shards", "5/2/1", "--label-key", "stars"]
    arguments += ["--split", split, "--dedup", dedup, "--seed", 0]
    here = command.sdjax(*arguments, "--out", tmp_path / "here")
    engine = ["--engine", "spark", "--spark-master", "local[2]"]
    there = command.sdjax(*arguments, *engine, "--out", tmp_path / "there")
    assert (here.status, there.status) == (0, 0), there.err
    assert files(tmp_path / "here") == files(tmp_path / "there")
    assert here.out == there.out
    assert f"(first: {inputs}/a.jsonl:701)" in here.out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["here", "there"]


def test_an_error_in_a_task_is_reported_in_one_line(inputs, tmp_path, command):
    data = (inputs / "b.json.gz").read_bytes()
    damaged = tmp_path / "a.json.gz"
    damaged.write_bytes(data[: len(data) // 2])
    engine = ["--engine", "spark", "--spark-master", "local[2]"]
    arguments = ["prepare", damaged, "--shards", "2/1/1", "--out", tmp_path / "c"]
    refused = command.sdjax(*arguments, *engine)
    assert refused.status == 2
    assert f"error: {damaged}: damaged gzip" in refused.err.splitlines()[-1]
    assert [p.name for p in tmp_path.iterdir()] == ["a.json.gz"]


def test_spark_does_not_make_the_synthetic_corpus(tmp_path, command):
    arguments = ["prepare", "synthetic", "--out", tmp_path / "c", "--engine", "spark"]
    assert_refused(command.sdjax(*arguments), "synthetic", "--engine spark")


def test_several_labels_are_the_same_on_both_engines(inputs, tmp_path, command):
    arguments = ["prepare", inputs / "a.jsonl", inputs / "b.json.gz"]
    arguments += ["--shards", "3/1/1", "--label-key", "stars,n", "--split"]
    for split in ("shuffled", "contiguous"):
        given = [*arguments, split]
        here = command.sdjax(*given, "--out", tmp_path / f"here-{split}")
        engine = ["--engine", "spark", "--spark-master", "local[2]"]
        there = command.sdjax(*given, *engine, "--out", tmp_path / f"there-{split}")
        assert (here.status, there.status) == (0, 0), there.err
        assert files(tmp_path / f"here-{split}") == files(tmp_path / f"there-{split}")
