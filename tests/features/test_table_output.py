"""Finished tables: what stands in Parquet, in a table of lines and in JSON lines."""

import csv
import datetime
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sdjax.errors import InputError
from sdjax.features import table_output

BAD = pa.StringArray.from_buffers(
    1, *pa.array([b"a\xff"]).cast(pa.binary()).buffers()[1:]
)
FIRST = pa.table({"n": pa.array([1, None]), "tags": [["a"], None], "x": [0.5, None]})
SECOND = pa.table({"n": pa.array([2.5]), "s": ["new"], "x": [1.0]})
SCHEMA = pa.unify_schemas([FIRST.schema, SECOND.schema], promote_options="permissive")


def read_csv(path, delimiter=","):
    with open(path, newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def test_pieces_of_parquet_get_the_columns_of_all(tmp_path):
    path = tmp_path / "a.parquet"
    table_output.write_parquet(path, SCHEMA, iter([FIRST, SECOND]), b'{"a": 1}')
    found = pq.read_table(path)
    assert found.column_names == ["n", "tags", "x", "s"]
    assert found["n"].to_pylist() == [1.0, None, 2.5]
    assert found["s"].to_pylist() == [None, None, "new"]
    assert json.loads(found.schema.metadata[b"sdjax-table"]) == {"a": 1}


def test_the_index_that_pandas_noted_stays_and_features_of_others_go(tmp_path):
    noted = {b"pandas": b"{}", b"huggingface": b"{}"}
    schema = FIRST.schema.with_metadata(noted)
    table_output.write_parquet(tmp_path / "a.parquet", schema, iter([FIRST]), b"{}")
    metadata = pq.read_schema(tmp_path / "a.parquet").metadata
    assert {b"pandas", b"sdjax-table"} == metadata.keys()


def test_cells(tmp_path):
    table = pa.table(
        {
            "text": ['say "x", y', "", None],
            "real": pa.array([0.1, 1.0, None], pa.float32()),
            "yes": [True, False, None],
            "list": [[1, 2], [], None],
            "dict": pa.array(["=p", None, "p"]).dictionary_encode(),
            "day": [datetime.date(2020, 1, 2), None, None],
            "money": [Decimal("1.10"), None, None],
            "raw": [b"ok", b"\xff", None],
            "=head": ["=1+1", "-2.5", "-x"],
        }
    )
    path = tmp_path / "a.csv"
    found = table_output.write_delimited(path, table.schema, iter([table]), ",", False)
    assert found == 3  # a number with its sign is no formula
    head, first, second, third = read_csv(path)
    assert head[-1] == "'=head"
    assert first == [
        *('say "x", y', "0.1", "true", "[1,2]", "'=p", "2020-01-02", "1.10", "ok"),
        "'=1+1",
    ]
    assert second == ["", "1", "false", "[]", "", "", "", "\ufffd", "-2.5"]
    assert third == [*[""] * 4, "p", "", "", "", "'-x"]
    table_output.write_delimited(path, table.schema, iter([table]), "\t", True)
    rows = read_csv(path, "\t")
    assert [row[-1] for row in rows] == ["=head", "=1+1", "-2.5", "-x"]


def test_bytes_that_are_no_utf_8_are_replaced(tmp_path):
    table = pa.table({"s": BAD, "d": BAD.dictionary_encode()})
    table_output.write_delimited(
        tmp_path / "a.csv", table.schema, iter([table]), ",", False
    )
    assert read_csv(tmp_path / "a.csv")[1] == ["a\ufffd"] * 2
    assert list(table_output.records_of({"s": BAD})) == [{"s": "a\ufffd"}]


def test_json_lines_keep_what_json_may_hold():
    records = [
        {"a": 1, "deep": {"b": [1.5, None]}},
        {"s": "\ud800", "big": 2**70},
        {"x": 1, "d": Decimal("1.10")},
    ]
    added = {"v": [np.float32(0.1), None, np.float32(2)], "called": ["y", None, "n"]}
    data = table_output.json_lines(records, added)
    found = [json.loads(line) for line in data.splitlines()]
    assert found[0] == {**records[0], "v": 0.1, "called": "y"}
    assert found[1] == {**records[1], "v": None, "called": None}
    assert found[2]["d"] == "1.10" and found[2]["v"] == 2.0
    assert b'"v":0.1,' in data
    odd = table_output.json_lines([{"s": "\ud800"}], {"v": [np.float32(0.1)]})
    assert json.loads(odd) == {"s": "\ud800", "v": 0.1}


@pytest.mark.parametrize("name", ["a.txt", "a", "a.npz"])
def test_a_name_that_says_nothing_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"\.parquet"):
        table_output.check_suffix(tmp_path / name)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        table_output.check_suffix(tmp_path / "folder.csv")
