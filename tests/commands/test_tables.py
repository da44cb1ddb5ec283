"""Tables in, tables out: `sdjax classify --output` and `sdjax featurize --units`."""

import csv
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from fixtures_run import ROOT, assert_refused
from foreign import random_params

from sdjax.checkpoints import published
from sdjax.data import tables as data_tables
from sdjax.data.text import Normalisation
from sdjax.features import tables
from sdjax.features.featurizer import TextFeaturizer

TEXTS = ["I love it", "", "The price was awful.", None, "I love it", "meh"]
ROWS = [
    {"id": f"{n:03d}", "text": text, "stars": n, "tags": ["x", str(n)]}
    for n, text in enumerate(TEXTS)
]


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(tables, "CHUNK_ROWS", 2)


def write(path):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        with path.open("w", newline="") as file:
            delimiter = "\t" if path.suffix == ".tsv" else ","
            rows = csv.DictWriter(file, list(ROWS[0]), delimiter=delimiter)
            rows.writeheader()
            rows.writerows(row | {"tags": json.dumps(row["tags"])} for row in ROWS)
    return path


def read(path) -> list[dict]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return list(
            csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        )


@pytest.mark.parametrize("to", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("of", ["csv", "tsv", "jsonl", "parquet"])
def test_rows_and_columns_stay_and_scores_are_added(
    tiny_run, command, tmp_path, small_chunks, of, to
):
    source, output = write(tmp_path / f"in.{of}"), tmp_path / f"out.{to}"
    done = command.sdjax(
        *("classify", tiny_run.workdir, "--unit", 3, "--units", 1, 5),
        *("--input", source, "--output", output),
    )
    assert done.status == 0, done.err
    assert f"{output}: 6 rows, 2 of them without a text that can be used" in done.out
    assert "skipped 2" in done.err
    found, given = read(output), read(source)
    units = ["cell_last_3", "cell_last_1", "cell_last_5"]
    assert list(found[0]) == [*ROWS[0], "called", *units]
    features = TextFeaturizer(tiny_run.workdir).transform([t or "" for t in TEXTS])
    for row, before, text, values in zip(found, given, TEXTS, features, strict=True):
        assert row["id"] == before["id"] and str(row["stars"]) == str(before["stars"])
        if not text:
            assert not any(row[name] for name in ("called", *units))
            continue
        assert row["text"] == text
        assert row["called"] == ("above" if values[3] > 0 else "below")
        numbers = [float(row[name]) for name in units]
        np.testing.assert_array_equal(np.float32(numbers), values[[3, 1, 5]])
    if of == to:  # cell by cell and type by type
        kept = [{key: row[key] for key in ROWS[0]} for row in found]
        assert kept == given
    assert sorted(tmp_path.iterdir()) == sorted([source, output])


def test_equal_texts_of_a_chunk_are_computed_once(
    tiny_run, command, tmp_path, monkeypatch
):
    seen = []
    transform_bytes = TextFeaturizer.transform_bytes

    def count(self, encoded, *rest):
        seen.append(len(encoded))
        return transform_bytes(self, encoded, *rest)

    monkeypatch.setattr(TextFeaturizer, "transform_bytes", count)
    files = "--input", write(tmp_path / "in.csv"), "--output", tmp_path / "out.csv"
    assert command.sdjax("classify", tiny_run.workdir, "--unit", 3, *files).status == 0
    assert seen == [3]  # of four texts two are the same


def test_a_folder_becomes_one_table_and_labels_are_compared(
    tiny_run, command, tmp_path, small_chunks
):
    (tmp_path / "in").mkdir()
    first = pa.Table.from_pylist([{"text": "a", "y": 1}, {"text": "b", "y": None}])
    second = pa.Table.from_pylist([{"text": "c", "y": 0, "new": 2.5}])
    pq.write_table(first, tmp_path / "in" / "0.parquet")
    pq.write_table(second, tmp_path / "in" / "1.parquet")
    output = tmp_path / "out.parquet"
    done = command.sdjax(
        *("classify", tiny_run.workdir, "--unit", 3, "--label-key", "y"),
        *("--input", tmp_path / "in", "--output", output, "--prefix", "m_"),
    )
    assert done.status == 0, done.err
    assert "of 2 labelled texts" in done.out
    assert "1 texts have no label that can be read" in done.out
    found = pq.read_table(output)
    assert found.column_names == ["text", "y", "new", "m_called", "m_cell_last_3"]
    assert found["new"].to_pylist() == [None, None, 2.5]
    metadata = json.loads(found.schema.metadata[b"sdjax-table"])
    assert metadata["params_sha256"] and metadata["unit"] == "3"
    assert metadata["input"] == "in" and metadata["skipped"] == {}
    assert "checkpoint" not in metadata  # no absolute path
    # Its own result scored again: the names are taken.
    again = "--input", output, "--output", tmp_path / "again.parquet"
    refused = command.sdjax(
        "classify", tiny_run.workdir, "--unit", 3, *again, "--prefix", "m_"
    )
    assert_refused(refused, "m_called", "--prefix")


def test_a_pipe_and_typed_texts_become_tables_too(
    tiny_run, command, tmp_path, monkeypatch
):
    import io

    unit = "classify", tiny_run.workdir, "--unit", 3
    output = tmp_path / "out.csv"
    done = command.sdjax(*unit, "one", " ", "two", "--output", output)
    assert (
        done.status == 0 and "skipped 1: 1 empty text (first: argument:2)" in done.err
    )
    assert [row["text"] for row in read(output)] == ["one", " ", "two"]
    stream = io.TextIOWrapper(io.BytesIO(b"one\n\ntwo\n"))
    monkeypatch.setattr(sys, "stdin", stream)
    done = command.sdjax(*unit, "--output", output)
    assert done.status == 0, done.err
    assert [row["text"] for row in read(output)] == ["one", "", "two"]
    assert [bool(row["called"]) for row in read(output)] == [True, False, True]


KILLED = """
import os, signal
from sdjax import cli
from sdjax.features import table_work, tables, unfinished

tables.CHUNK_ROWS = 4
write_whole, calls = table_work.write_whole, []

def write(path, content, **options):
    calls.append(path)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    write_whole(path, content, **options)

table_work.write_whole = unfinished.write_whole = write
cli.main()
"""


def test_after_kill_9_no_row_is_missing_and_none_comes_twice(
    tiny_run, command, tmp_path, monkeypatch
):
    monkeypatch.setattr(tables, "CHUNK_ROWS", 4)
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    with source.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text", "label"])
        rows.writerows(
            [f"{n:03d}", f"text {n % 7}" if n % 5 else "", n % 2] for n in range(30)
        )
    arguments = [
        *("classify", tiny_run.workdir, "--unit", "3", "--label-key", "label"),
        *("--input", source, "--output", output),
    ]
    # The sixth file is progress.json of the third chunk.
    script = [sys.executable, "-c", KILLED.format(call=6), *map(str, arguments)]
    done = subprocess.run(
        script, cwd=ROOT, capture_output=True, text=True, timeout=300, env=os.environ
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not output.exists()
    verdict = command.sdjax("verify", f"{output}.parts")
    assert verdict.status == 0 and "whole, 3 parts" in verdict.out
    resumed = command.sdjax(*arguments)
    assert resumed.status == 0 and "8 rows are done already" in resumed.err
    assert "30 rows, 6 of them without a text" in resumed.out
    assert [row["id"] for row in read(output)] == [f"{n:03d}" for n in range(30)]
    content, said = output.read_bytes(), resumed.out
    whole = command.sdjax(*arguments)
    assert output.read_bytes() == content and whole.out == said
    assert not (tmp_path / "out.csv.parts").exists()


def test_a_codec_that_cannot_read_a_text_leaves_the_row(command, tmp_path):
    model, folder = tiny.model(vocabulary_size=26), tmp_path / "model"
    published.write(model, random_params(model), Normalisation(codec="protein"), folder)
    output = tmp_path / "out.jsonl"
    (tmp_path / "in.csv").write_text("sequence,n\nMKV,1\nM1,2\n")
    done = command.sdjax(
        *("classify", folder, "--unit", 1),
        *("--input", tmp_path / "in.csv", "--output", output),
    )
    assert done.status == 0 and "1 of them without a text" in done.out, done.err
    first, second = read(output)
    assert first["called"] and second == {
        **{"sequence": "M1", "n": "2"},
        **{"called": None, "cell_last_1": None},
    }


def test_units_of_a_stack_as_columns_of_a_table(command, tmp_path):
    model, folder = tiny.model(num_layers=2), tmp_path / "stack"
    published.write(model, random_params(model), Normalisation(), folder)
    source, output = write(tmp_path / "in.parquet"), tmp_path / "out.parquet"
    given = "featurize", "--checkpoint", folder, "--input", source
    done = command.sdjax(
        *given,
        *("--units", "0:3", "5", "--pooling", "last", "mean", "--id-key", "id"),
        *("--keep", "stars", "--output", output, "--max-bad-fraction", 1),
    )
    assert done.status == 0, done.err
    found = pq.read_table(output)
    names = ["cell_last_0:3", "cell_mean_0:3", "cell_last_1:5", "cell_mean_1:5"]
    assert found.column_names == ["row", "id", "stars", *names]
    both = TextFeaturizer(folder, layers="all", pooling=["last", "mean"])
    features = both.transform([text or "" for text in TEXTS])
    for name, column in zip(names, (3, 16 + 3, 8 + 5, 16 + 8 + 5), strict=True):
        values = found[name].to_pylist()
        assert [v is None for v in values] == [not text for text in TEXTS]
        wanted = [
            float(f) for f, t in zip(features[:, column], TEXTS, strict=True) if t
        ]
        assert [v for v in values if v is not None] == wanted
    for unit in ("2:0", "0:8", "8", "-1", "x"):
        refused = command.sdjax(*given, f"--units={unit}", "--output", output)
        assert_refused(refused, f"unit {unit}")
    twice = command.sdjax(*given, "--units", "1:3", "3", "--output", output)
    assert_refused(twice, "named twice")


def test_all_units_as_a_list_of_a_fixed_size(tiny_run, command, tmp_path, small_chunks):
    source, output = write(tmp_path / "in.jsonl"), tmp_path / "out.parquet"
    given = "featurize", "--checkpoint", tiny_run.workdir, "--input", source
    done = command.sdjax(
        *given, "--keep", "--output", output, "--max-bad-fraction", 0.5
    )
    assert done.status == 0, done.err
    found = pq.read_table(output)
    assert found.column_names == ["row", *ROWS[0], "features"]
    assert found.schema.field("features").type == pa.list_(pa.float32(), tiny.HIDDEN)
    features = TextFeaturizer(tiny_run.workdir).transform([t or "" for t in TEXTS])
    wanted = [f.tolist() if t else None for f, t in zip(features, TEXTS, strict=True)]
    assert found["features"].to_pylist() == wanted
    few = command.sdjax(*given, "--keep", "--output", output)  # a third has no text
    assert_refused(few, "33.3% of the rows are unusable")
    assert_refused(
        command.sdjax(*given, "--keep", "--no-texts", "--output", output), "--no-texts"
    )
    assert_refused(
        command.sdjax(*given, "--prefix", "a", "--output", tmp_path / "a.npz"), "--keep"
    )
    assert_refused(
        command.sdjax(*given, "--keep", "--output", tmp_path / "a.npz"), "a.npz"
    )


def test_a_table_without_a_text_is_refused(tiny_run, command, tmp_path):
    (tmp_path / "in.csv").write_text("text,n\n,1\n ,2\n")
    files = "--input", tmp_path / "in.csv", "--output", tmp_path / "out.csv"
    done = command.sdjax("classify", tiny_run.workdir, "--unit", 3, *files)
    assert_refused(done, "no usable text", "2 empty text")
    assert list(tmp_path.iterdir()) == [tmp_path / "in.csv"]
    without = command.sdjax(
        "classify", tiny_run.workdir, "--unit", 3, "a", "--prefix", "x"
    )
    assert_refused(without, "--prefix is of --output")


def test_a_chunk_has_no_more_rows_than_their_features_have_room():
    wide = type("Wide", (), {"width": 2**20})
    assert tables.rows_at_once(wide) == 16
    assert tables.rows_at_once(type("Narrow", (), {"width": 8})) == 4096
    assert data_tables.CHUNK_ROWS == 4096
