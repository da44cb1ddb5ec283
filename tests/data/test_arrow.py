"""Records as Arrow's columns: kinds that have one in common, and those that do not."""

import pyarrow as pa
import pytest

from sdjax.data.arrow import as_cells, as_columns, unified
from sdjax.errors import InputError


def column(values):
    return as_columns([{"x": v} for v in values], range(len(values)))["x"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2.5, None], pa.float64()),
        (["a", None], pa.string()),
        ([None, None], pa.null()),
        ([[1], [], None], pa.list_(pa.int64())),
        ([{"a": 1}, {"b": "x"}], pa.struct({"a": pa.int64(), "b": pa.string()})),
    ],
)
def test_values_of_one_kind(values, kind):
    assert column(values).type == kind


def test_keys_in_the_order_in_which_they_come():
    columns = as_columns([{"b": 1}, {"a": "x", "b": 2}, {}], range(3))
    assert list(columns) == ["b", "a"]
    assert columns["a"].to_pylist() == [None, "x", None]


def test_half_a_surrogate_pair_is_replaced_also_within():
    values = ["a\ud800", "\ud83d\ude00", {"k": ["\udc00"]}]
    assert column(values[:2]).to_pylist() == ["a\ufffd", "\U0001f600"]
    assert column(values[2:]).to_pylist() == [{"k": ["\ufffd"]}]


@pytest.mark.parametrize(
    ("values", "row", "found", "before"),
    [
        ([1, None, 2, "n/a"], 3, "'n/a' (str)", "int64"),
        (["a", "b", 3], 2, "3 (int)", "string"),
        ([None, 2**70], 1, f"{2**70} (int)", "nothing but null"),
        ([{"a": 1}, [1]], 1, "[1] (list)", "struct"),
    ],
)
def test_a_value_of_another_kind_is_named(values, row, found, before):
    with pytest.raises(InputError) as refused:
        column(values)
    message = str(refused.value)
    assert f"row {row}, column 'x': found {found}" in message
    assert before in message and ".jsonl" in message


def test_cells_hold_values_of_any_kind():
    values = ["007", None, 7, 2.5, True, ["a", 1], {"k": None}, 2**70, "a\ud800"]
    cells = as_cells([{"x": value} for value in values] + [{}])["x"].to_pylist()
    assert cells == [
        *("007", None, "7", "2.5", "true", '["a",1]', '{"k":null}', str(2**70)),
        *("a\ufffd", None),
    ]


def schema_after(*pieces):
    known = None
    for place, values in enumerate(pieces):
        rows = range(100 * place, 100 * place + len(values))
        table = pa.table(as_columns([{"x": v} for v in values], rows))
        known = unified(known, table, rows)
    return known.field("x").type


def test_pieces_find_a_kind_that_holds_them_all():
    assert schema_after([1], [2.5]) == pa.float64()
    assert schema_after([None], ["a"]) == schema_after(["a"], [None]) == pa.string()
    both = schema_after([{"a": 1}], [{"b": [None]}], [{"b": ["x"]}])
    assert both == pa.struct({"a": pa.int64(), "b": pa.list_(pa.string())})
    known = unified(None, pa.table({"a": [1]}), [0])
    assert unified(known, pa.table({"b": ["x"]}), [1]).names == ["a", "b"]


@pytest.mark.parametrize(
    ("pieces", "row"),
    [
        (([1, 2], [None, "n/a"]), 101),
        ((["a"], [3]), 100),
        (([{"a": 1}], [{"a": 2}, {"a": "x"}]), None),
        (([{"a": 1}], [{"b": 2}, {"a": None}], [None, {"a": "x"}]), 201),
    ],
)
def test_a_later_piece_of_another_kind_is_named(pieces, row):
    with pytest.raises(InputError, match="column 'x': found ") as refused:
        schema_after(*pieces)
    if row is not None:
        assert f"row {row}, " in str(refused.value)
