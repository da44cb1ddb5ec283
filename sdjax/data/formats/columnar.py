"""Parquet and Arrow files, and the folders of `datasets.save_to_disk`."""

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdjax.data.formats.compression import Stored
from sdjax.data.formats.layout import Layout, Record
from sdjax.data.read_report import ReadReport
from sdjax.errors import InputError

if TYPE_CHECKING:  # it takes a moment to import, and most sources do not need it
    import pyarrow as pa

_ROWS = 1024  # decoded at a time


def columnar_records(
    layout: Layout, report: ReadReport, columns: list[str] | None
) -> Iterator[Record]:
    """Read the rows of Parquet or Arrow files.

    Args:
        layout: of a file, or of a folder that `save_to_disk` wrote.
        report: counts what is read.
        columns: read only these; those that are not there are left to the caller.

    Raises:
        InputError: a file is damaged.
    """
    row = 0
    for batch in columnar_batches(layout, report, columns):
        yield from batch_records(batch, row, layout.stored, report)
        row += len(batch)


def columnar_batches(
    layout: Layout, report: ReadReport, columns: list[str] | None
) -> "Iterator[pa.RecordBatch]":
    """Read the rows of Parquet or Arrow files as Arrow has them, some at a time.

    Takes and raises what `columnar_records` does; the report's position moves on.
    """
    path, before = layout.stored.path, report.position
    files = saved_files(path) if layout.format == "saved" else [path]
    for file in files:
        size = file.stat().st_size
        for share, batch in _batches(file, layout.format, columns):
            report.position = before + int(size * share)
            yield batch
        before += size


def batch_records(
    batch: "pa.RecordBatch", first: int, stored: Stored, report: ReadReport
) -> Iterator[Record]:
    """Decode the rows of a batch; those whose bytes are no UTF-8 are counted.

    Args:
        batch: some rows, or some columns of them.
        first: the number of its first row.
        stored: where they are from.
        report: counts what is read.
    """
    names, arrays = batch.schema.names, map(_as_bytes, batch.columns)
    for row, values in enumerate(zip(*(a.to_pylist() for a in arrays), strict=True)):
        report.read += 1
        try:
            values = decoded(zip(names, values, strict=True))
        except UnicodeDecodeError:
            report.skip("non-UTF-8 bytes", f"{stored}:{first + row + 1}")
        else:
            yield first + row, first + row + 1, values


def column_names(layout: Layout) -> list[str]:
    """Return the names of the columns of Parquet or Arrow files."""
    path = layout.stored.path
    path = saved_files(path)[0] if layout.format == "saved" else path
    with _open(path, layout.format) as (schema, _):
        return schema.names


def class_names(layout: Layout, column: str) -> tuple[str, ...]:
    """Return the names of the classes that the numbers in a column stand for.

    `datasets` writes them beside the schema; () where there are none.
    """
    path = layout.stored.path
    path = saved_files(path)[0] if layout.format == "saved" else path
    with _open(path, layout.format) as (schema, _):
        found = (schema.metadata or {}).get(b"huggingface")
    try:
        feature = json.loads(found)["info"]["features"][column]
        if feature["_type"] == "ClassLabel":
            return tuple(map(str, feature["names"]))
    except (KeyError, TypeError, ValueError):
        pass
    return ()


def saved_files(folder: Path) -> list[Path]:
    """List the Arrow files of a folder that `save_to_disk` wrote, in their order.

    Raises:
        InputError: the folder has several splits, or is damaged.
    """
    listed = folder / "dataset_dict.json"
    try:
        if listed.is_file():
            splits = json.loads(listed.read_bytes())["splits"]
            raise InputError(
                f"{folder}: a dataset with the splits {', '.join(splits)}; give one,"
                f" as {folder / splits[0]}"
            )
        state = json.loads((folder / "state.json").read_bytes())
        return [folder / Path(f["filename"]).name for f in state["_data_files"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{folder}: damaged folder of save_to_disk ({error}); fetch it again"
        ) from error


def is_saved(folder: Path) -> bool:
    """Tell whether `save_to_disk` wrote a folder."""
    return any((folder / n).is_file() for n in ("dataset_dict.json", "state.json"))


def _batches(path: Path, format: str, columns: list[str] | None):
    """Yield (part of the file that is read then, rows)."""
    with _open(path, format) as (schema, read):
        if columns is not None:
            columns = [name for name in schema.names if name in columns]
        yield from read(columns)


@contextlib.contextmanager
def _open(path: Path, format: str):
    """Give the schema and a function that yields batches of some columns."""
    import pyarrow as pa

    try:
        if format == "parquet":
            import pyarrow.parquet as pq

            with pq.ParquetFile(path) as file:
                yield file.schema_arrow, lambda columns: _of_parquet(file, columns)
            return
        with pa.memory_map(str(path)) as source:
            if source.read(6) == b"ARROW1":
                reader = pa.ipc.open_file(source)
                yield reader.schema, lambda columns: _of_file(reader, columns)
            else:
                source.seek(0)
                reader = pa.ipc.open_stream(source)
                yield (
                    reader.schema,
                    lambda columns: _of_stream(source, reader, columns),
                )
    except (pa.ArrowException, OSError) as error:
        kind = "parquet" if format == "parquet" else "Arrow"
        raise InputError(
            f"{path}: damaged {kind} file ({' '.join(str(error).split())[:200]}); "
            "fetch it again"
        ) from error


def _of_parquet(file, columns: list[str] | None):
    rows, done = max(1, file.metadata.num_rows), 0
    for batch in file.iter_batches(_ROWS, columns=columns):
        done += len(batch)
        yield done / rows, batch


def _of_file(reader, columns: list[str] | None):
    count = reader.num_record_batches
    for i in range(count):
        for batch in _in_parts(reader.get_batch(i), columns):
            yield (i + 1) / count, batch


def _of_stream(source, reader, columns: list[str] | None):
    size = max(1, source.size())
    for batch in reader:
        for part in _in_parts(batch, columns):
            yield source.tell() / size, part


def _in_parts(batch, columns: list[str] | None):
    batch = batch if columns is None else batch.select(columns)
    return (batch.slice(i, _ROWS) for i in range(0, len(batch), _ROWS))


def _as_bytes(array):
    """Undo what claims that the bytes of a file are UTF-8: they may not be."""
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type):
        return array.cast(pa.binary())
    if pa.types.is_large_string(array.type):
        return array.cast(pa.large_binary())
    return array


def decoded(values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Make strings of bytes."""
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values}
