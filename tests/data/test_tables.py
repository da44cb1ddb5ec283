"""A table in chunks: every column as it was, every row once, texts where there are."""

import csv
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sdjax.data.read_report import ReadReport
from sdjax.data.sources import open_input
from sdjax.data.tables import numbered, table_chunks
from sdjax.errors import InputError


def chunks_of(sources, report=None, **options):
    keys = {k: options.pop(k) for k in ("text_key", "label_key") if k in options}
    opened = open_input(sources, **keys)
    return list(table_chunks(opened, report or ReadReport(), **options))


def rows_of(chunks) -> list[dict]:
    found = []
    for chunk in chunks:
        columns = {name: list(c.to_pylist()) for name, c in chunk.columns().items()}
        found += [
            dict(zip(columns, row, strict=True))
            for row in zip(*columns.values(), strict=True)
        ]
    return found


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(path)


def test_a_cell_stays_the_string_that_it_was(tmp_path):
    cells = [
        ["007", "good", "1e3", " x "],
        ["-0", "", "", "NA"],
        ["1_0", "b\nc", "é", "1"],
    ]
    path = write_csv(tmp_path / "a.csv", [["id", "text", "n", "more"], *cells])
    report = ReadReport()
    (chunk,) = chunks_of(path, report)
    assert [list(row.values()) for row in rows_of([chunk])] == cells
    assert chunk.texts == ["good", None, "b\nc"] and chunk.rows == [0, 1, 2]
    assert report.skipped == {"empty text": 1} and report.kept == 2


def test_a_line_that_is_no_row_is_counted_and_the_numbers_go_on(tmp_path):
    path = write_csv(tmp_path / "a.csv", [["text", "n"], ["a", 1], ["b"], ["c", 3]])
    report = ReadReport()
    (chunk,) = chunks_of(path, report)
    assert chunk.rows == [0, 2] and chunk.texts == ["a", "c"]
    assert report.read == 3 and report.skipped.total() == 1


TABLE = pa.table(
    {
        "stars": pa.array([1, 2, None, 4], pa.int8()),
        "text": ["good", None, " ", "bad"],
        "price": pa.array([Decimal("1.10")] * 4),
        "tags": [["a"], [], None, ["b", "c"]],
        "who": [{"name": "x", "age": 3}] * 4,
        "kind": pa.array(["p", "q", "p", "q"]).dictionary_encode(),
        "when": pa.array([0, 1, 2, None], pa.timestamp("us", "UTC")),
    }
)


@pytest.mark.parametrize("most", [1, 3, 4096])
def test_columns_of_parquet_keep_their_types(tmp_path, most):
    pq.write_table(TABLE, tmp_path / "a.parquet")
    report = ReadReport()
    chunks = chunks_of(str(tmp_path / "a.parquet"), report, most=most)
    assert pa.concat_tables([chunk.kept for chunk in chunks]).equals(TABLE)
    assert [len(c.rows) for c in chunks] == {1: [1] * 4, 3: [3, 1]}.get(most, [4])
    texts = [text for chunk in chunks for text in chunk.texts]
    assert texts == ["good", None, None, "bad"]
    assert report.read == 4 and report.skipped.total() == 2


def test_bytes_that_are_no_utf_8_cost_the_text_and_not_the_row(tmp_path):
    data = pa.array([b"good", b"\xff\xfe", b"bad"]).cast(pa.binary())
    text = pa.StringArray.from_buffers(3, *data.buffers()[1:])
    pq.write_table(pa.table({"n": [1, 2, 3], "text": text}), tmp_path / "a.parquet")
    report = ReadReport()
    (chunk,) = chunks_of(str(tmp_path / "a.parquet"), report)
    assert chunk.texts == ["good", None, "bad"] and chunk.rows == [0, 1, 2]
    assert chunk.kept["n"].to_pylist() == [1, 2, 3]
    assert report.skipped == {"non-UTF-8 bytes": 1}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_rows_left_out_are_those_before(tmp_path, ending):
    rows = [{"text": f"text {n}", "n": str(n)} for n in range(50)]
    for name, some in (("a", rows[:20]), ("b", rows[20:])):
        path = tmp_path / f"{name}.{ending}"
        if ending == "csv":
            write_csv(path, [["text", "n"], *(r.values() for r in some)])
        elif ending == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in some))
        else:
            pq.write_table(pa.Table.from_pylist(some), path)
    for skip in (0, 1, 19, 20, 33, 50):
        report = ReadReport()
        chunks = chunks_of(str(tmp_path), report, most=8, skip=skip)
        assert rows_of(chunks) == rows[skip:]
        assert [row for c in chunks for row in c.rows] == list(range(skip, 50))
        assert report.read == 50 and report.kept == 50
        assert all(len(chunk.rows) <= 8 for chunk in chunks)


def test_only_what_is_to_be_kept(tmp_path):
    pq.write_table(TABLE, tmp_path / "a.parquet")
    path = str(tmp_path / "a.parquet")
    (chunk,) = chunks_of(path, keep=["tags", "stars"])
    assert chunk.kept.equals(TABLE.select(["tags", "stars"]))
    assert chunk.texts[0] == "good"
    with pytest.raises(
        InputError, match="no column 'x' to keep; .* stars, text, price"
    ):
        chunks_of(path, keep=["x"])
    other = write_csv(tmp_path / "a.csv", [["text", "n"], ["a", 1]])
    (chunk,) = chunks_of(other, keep=["n"])
    assert chunk.kept == [{"n": "1"}]
    with pytest.raises(InputError, match="no column 'x' to keep"):
        chunks_of(other, keep=["x"])


def test_labels_beside_the_rows(tmp_path):
    path = write_csv(tmp_path / "a.csv", [["text", "n"], ["a", 1], ["b", "?"], ["", 0]])
    (chunk,) = chunks_of(path, label_key="n")
    assert chunk.labels == [1.0, None, 0.0]


def test_a_number_before_each_row(tmp_path):
    pq.write_table(TABLE, tmp_path / "a.parquet")
    chunks = chunks_of(str(tmp_path / "a.parquet"), most=3, keep=["stars"])
    numbers = pa.concat_tables([c.kept for c in numbered(chunks, "row")])
    assert numbers["row"].to_pylist() == [0, 1, 2, 3]
    with pytest.raises(InputError, match="column 'stars'.*--prefix"):
        list(numbered(chunks, "stars"))


def test_a_column_s_name_may_come_once(tmp_path):
    twice = pa.Table.from_arrays([pa.array(["a"])] * 2, ["text", "text"])
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file:
        with pa.ipc.new_file(file, twice.schema) as writer:
            writer.write_table(twice)
    with pytest.raises(InputError, match="'text'"):
        chunks_of(str(tmp_path / "a.arrow"))
