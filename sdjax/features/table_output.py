"""How a finished table is written: Parquet, a table of lines, or JSON lines.

What is added to a row comes behind its own columns. In a table of lines an empty cell
stands for null, a list or an object is written as JSON, and everything is UTF-8.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sdjax.data.arrow import json_text
from sdjax.errors import InputError
from sdjax.files import without_formula

DELIMITERS = {".csv": ",", ".tsv": "\t"}
LINES = (".jsonl", ".ndjson")
SUFFIXES = (*DELIMITERS, *LINES, ".parquet")

# In one row group.
_GROUP_ROWS = 2**16
_GROUP_BYTES = 2**26


def check_suffix(path: Path) -> None:
    """Refuse a name that stands for no table.

    Raises:
        InputError: it ends in nothing that is known, or is a folder.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: name a file that ends in {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")


def json_lines(
    records: Iterable[Mapping[str, Any]], added: Mapping[str, Sequence]
) -> bytes:
    """Return records with what is added to them, an object on each line.

    Args:
        records: as they were read; what JSON has no word for becomes a string.
        added: a value for each record, by name.
    """
    lines = []
    for record, values in zip(records, zip(*added.values(), strict=True), strict=True):
        row = {**record, **dict(zip(added, values, strict=True))}
        lines.append(json_text(row))
    return b"".join(line + b"\n" for line in lines)


def values_of(column: pa.Array | pa.ChunkedArray) -> list:
    """Return the values of a column as `json_lines` takes them."""
    if pa.types.is_float32(column.type) or pa.types.is_float16(column.type):
        kind = column.type.to_pandas_dtype()
        return [None if value is None else kind(value) for value in column.to_pylist()]
    return _undamaged(column).to_pylist()


def _undamaged(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Replace bytes that are no UTF-8, which a string of a file may hold."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _undamaged(column.cast(kind.value_type))
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return column
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        large = pa.types.is_large_string(kind)
        data = column.cast(pa.large_binary() if large else pa.binary()).to_pylist()
        return pa.array(
            [None if v is None else v.decode(errors="replace") for v in data]
        )
    return column


def _decoded(column: pa.Array | pa.ChunkedArray) -> list[str | None]:
    values = column.to_pylist()
    return [None if v is None else v.decode(errors="replace") for v in values]


def records_of(columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> Iterator[dict]:
    """Yield the rows of some columns as records."""
    values = map(values_of, columns.values())
    for row in zip(*values, strict=True):
        yield dict(zip(columns, row, strict=True))


def write_parquet(
    path: Path, schema: pa.Schema, tables: Iterable[pa.Table], metadata: bytes
) -> None:
    """Write tables of the same columns as one Parquet file.

    Args:
        schema: what all of them become.
        tables: they may lack columns, which are null then.
        metadata: JSON, kept in the file under `sdjax-table`.
    """
    known = {b"sdjax-table": metadata}
    if pandas := (schema.metadata or {}).get(b"pandas"):  # which columns are its index
        known[b"pandas"] = pandas
    schema = schema.with_metadata(known)
    # Dictionaries of floating point would only cost time.
    repeated = [f.name for f in schema if not _is_floating(f.type)]
    waiting = []
    with pq.ParquetWriter(path, schema, use_dictionary=repeated) as writer:

        def write() -> None:
            writer.write_table(pa.concat_tables(waiting))
            waiting.clear()

        for table in tables:
            waiting.append(_as(schema, table))
            rows = sum(map(len, waiting))
            if rows >= _GROUP_ROWS or sum(t.nbytes for t in waiting) >= _GROUP_BYTES:
                write()
        if waiting:
            write()


def _is_floating(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_fixed_size_list(kind) else kind
    return pa.types.is_floating(inner)


def _as(schema: pa.Schema, table: pa.Table) -> pa.Table:
    """Give a table the columns of a schema, in their order."""
    names = set(table.column_names)
    columns = [
        table[field.name].cast(field.type)
        if field.name in names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def write_delimited(
    path: Path,
    schema: pa.Schema,
    tables: Iterable[pa.Table],
    delimiter: str,
    keep_formulas: bool,
) -> int:
    """Write tables of the same columns as a table of lines.

    Args:
        schema, tables: as for `write_parquet`.
        delimiter: between cells.
        keep_formulas: do not put an apostrophe before what a spreadsheet would take for
            a formula.

    Returns:
        How many cells got one.
    """
    escaped = 0
    with open(path, "w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\r\n")
        head = list(schema.names)
        writer.writerow(head if keep_formulas else map(without_formula, head))
        for table in tables:
            columns = [_cells(column) for column in _as(schema, table).columns]
            if not keep_formulas:
                for place, column in enumerate(columns):
                    if _is_text(schema.field(place).type):
                        safe = list(map(without_formula, column))
                        escaped += sum(map(_differ, safe, column))
                        columns[place] = safe
            writer.writerows(zip(*columns, strict=True))
    return escaped


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    types = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    binary = (pa.types.is_binary, pa.types.is_large_binary)
    return any(is_text(kind) for is_text in (*types, *binary))


def _differ(one: object, other: object) -> bool:
    return one is not other


def _cells(column: pa.ChunkedArray) -> list[str | None]:
    """Return what stands in the cells of a column; None for an empty one."""
    column = _undamaged(column)
    kind = column.type
    if pa.types.is_nested(kind):
        values = column.to_pylist()
        return [
            None if value is None else json_text(value).decode() for value in values
        ]
    if pa.types.is_string(kind):
        return column.to_pylist()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _decoded(column)
    return pc.cast(column, pa.string()).to_pylist()
