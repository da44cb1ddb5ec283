"""Records -> Arrow columns, and one schema for a table that is read piece by piece."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from sdjax.errors import InputError

_FIX = (
    "a column of a table holds values of one kind: mend the row, or name an output that"
    " ends in .jsonl, which holds any"
)
# What pyarrow raises where values do not fit together.
_UNFIT = (pa.ArrowException, OverflowError, TypeError, ValueError)


def as_columns(
    records: Sequence[dict[str, Any]], rows: Sequence[int]
) -> dict[str, pa.Array]:
    """Turn records into a column for each key, null where a record has none.

    Half a surrogate pair, which Arrow's strings cannot hold, becomes U+FFFD.

    Args:
        records: as a reader of `sdjax.data.formats` gives them.
        rows: their numbers in the input, for messages.

    Raises:
        InputError: values of a key have no kind in common; names the row, the column
            and the value.
    """
    names = dict.fromkeys(name for record in records for name in record)
    return {
        str(name): _column(str(name), [record.get(name) for record in records], rows)
        for name in names
    }


def as_cells(records: Sequence[dict[str, Any]]) -> dict[str, pa.Array]:
    """Turn records into columns of strings, as they stand in a table of lines.

    A string stays as it is, null stays null, and all else is written as JSON.
    """
    names = dict.fromkeys(name for record in records for name in record)
    return {
        str(name): pa.array(
            [_cell(record.get(name)) for record in records], pa.string()
        )
        for name in names
    }


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        return json_text(value).decode(errors="replace")
    return value if value.isascii() else _valid(value)


def json_text(value: Any) -> bytes:
    """Write a value as JSON; what JSON has no word for becomes a string."""
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS)
    except TypeError:  # half a surrogate pair, or an integer of more than 64 bits
        return json.dumps(value, default=_plain).encode()


_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        # The digits that tell a float32 from its neighbours, and no more.
        return float(str(value)) if isinstance(value, np.floating) else value.item()
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def unified(known: pa.Schema | None, table: pa.Table, rows: Sequence[int]) -> pa.Schema:
    """Return a schema that holds what was read before and a piece that comes next.

    Integers become floating point and null becomes anything where that is needed; a
    column that is new is added at the end.

    Args:
        known: of what was read before; None of the first piece.
        table: what comes next.
        rows: their numbers in the input, for messages.

    Raises:
        InputError: a column is of another kind now; names the row, the column and the
            value.
    """
    if known is None or known.equals(table.schema):
        return table.schema if known is None else known
    try:
        return _unify(known, table.schema)
    except pa.ArrowException as error:
        for name in table.column_names:
            place = known.get_field_index(name)
            if place >= 0:
                _check_kind(known.field(place), table[name], rows)
        raise InputError(f"rows from {rows[0]} on: {error}; {_FIX}") from error


def _unify(*schemas: pa.Schema) -> pa.Schema:
    return pa.unify_schemas(list(schemas), promote_options="permissive")


def _column(name: str, values: list, rows: Sequence[int]) -> pa.Array:
    try:
        return pa.array(values)
    except UnicodeEncodeError:
        return _column(name, list(map(_valid, values)), rows)
    except _UNFIT as error:
        good, bad = 0, len(values)  # so many fit together; so many do not
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                pa.array(values[:middle])
                good = middle
            except _UNFIT:
                bad = middle
        before = pa.array(values[:good]).type
        raise _refusal(rows[good], name, values[good], before) from error


def _valid(value: Any) -> Any:
    """Replace half surrogate pairs, in lists and objects, too."""
    if isinstance(value, str):
        pairs = value.encode("utf-16-le", "surrogatepass")
        return pairs.decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {_valid(key): _valid(inner) for key, inner in value.items()}
    return list(map(_valid, value)) if isinstance(value, list) else value


def _check_kind(field: pa.Field, column: pa.ChunkedArray, rows: Sequence[int]) -> None:
    """Refuse the first value of a column that does not fit a field."""
    try:
        _unify(pa.schema([field]), pa.schema([field.with_type(column.type)]))
        return
    except pa.ArrowException as error:
        for row, value in zip(rows, column, strict=True):
            if value.is_valid:
                own = field.with_type(pa.array([value.as_py()]).type)
                try:
                    _unify(pa.schema([field]), pa.schema([own]))
                except pa.ArrowException:
                    found = value.as_py()
                    raise _refusal(row, field.name, found, field.type) from error


def _refusal(row: int, name: str, value: Any, before: pa.DataType) -> InputError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    kind = "nothing but null" if pa.types.is_null(before) else str(before)
    return InputError(
        f"row {row}, column {name!r}: found {shown} ({type(value).__name__}) where the"
        f" rows before hold {kind}; {_FIX}"
    )
