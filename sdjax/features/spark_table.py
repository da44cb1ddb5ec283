"""A table in, a folder of Parquet files out, on Spark.

The workers read the input in pieces. Spark's shuffle spreads the chunks of rows over
all cores, so that one compressed file is not the work of one core. A task asks the
model about some neighbouring chunks and writes a file under the name of its own
attempt. The driver takes the files of the attempts that Spark counts, one for each
task, and renames the folder when all are there: a task that failed or was done twice
leaves no row.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from sdjax.data import pieces as data_pieces
from sdjax.data.arrow import unified
from sdjax.data.formats.lines import line_blocks
from sdjax.data.parts import File
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import Input
from sdjax.data.tables import Chunk, numbered, table_chunks
from sdjax.errors import InputError, naming
from sdjax.features import table_output
from sdjax.features.spark import SparkColumns
from sdjax.features.table_work import as_stream, of_stream
from sdjax.files import name_folder, refuse_filled, sync

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TASK_BYTES = 2**22  # of texts; what a lost worker loses

# (piece, chunk within it): the order of the rows. What is kept of the columns of a
# chunk goes from worker to worker as `as_stream` writes it.
Key = tuple[int, int]
# What is noted of some rows: their labels, and the columns that were added.
Note = Callable[[Sequence[float | None], Mapping[str, pa.Array]], object]


class _Source(NamedTuple):
    """What the worker that reads a piece is told of it."""

    opened: Input
    span: tuple[int, int] | None


class _Counts(NamedTuple):
    """Counts from reading a piece; `sizes` has the bytes of texts of each chunk."""

    number: int
    rows: int
    lines: int
    sizes: list[int]
    schema: pa.Schema | None
    report: ReadReport


class _Written(NamedTuple):
    """What a task has written; the last three are those of its rows."""

    task: int
    name: str
    size: int
    rows: int
    report: ReadReport
    note: object


class Finished(NamedTuple):
    """What was written: how many rows and files, and the notes in their order."""

    rows: int
    files: int
    notes: list


def write(
    spark: "SparkSession",
    opened: Input,
    columns: SparkColumns,
    output: Path,
    report: ReadReport,
    *,
    keep: Sequence[str] | None = None,
    numbers: str | None = None,
    metadata: bytes = b"{}",
    note: Note = lambda labels, columns: None,
) -> Finished:
    """Write a folder of Parquet files with all rows of an input and added columns.

    Args:
        spark: the session.
        opened: files that all workers see at the same path.
        columns: what is added.
        output: a folder that all workers see; nothing, or an empty folder, is there.
        report: counts what is read.
        keep: columns of the input that are kept; None for all.
        numbers: put the number of each row in the input before its columns, by this
            name.
        metadata: JSON, kept in every file.
        note: called on a worker with the rows of a task; picklable.

    Raises:
        InputError: the output exists, nothing in the input can be used, its columns do
            not fit together, it was changed while it was read.
    """
    output = output.absolute()
    refuse_filled(output)
    unchanged = opened.watch()
    work = output.with_name(f".{output.name}.spark")
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
    parts, table = work / "parts", work / "table"
    try:
        with naming(output):
            parts.mkdir(parents=True)
            table.mkdir()
        pieces = list(data_pieces.pieces(opened.parts))
        read = _read(spark.sparkContext, opened, pieces, columns, keep, numbers)
        counts = sorted(read.filter(_is_counts).values().collect())
        for of_piece in data_pieces.with_file_lines(pieces, counts):
            report.add(of_piece)
        _check_kept(report)
        firsts = np.cumsum([0, *(count.rows for count in counts)]).tolist()
        write_part = partial(
            _write_part,
            columns=columns,
            folder=parts,
            schema=_schema(counts, firsts, columns),
            firsts=firsts,
            numbers=numbers,
            metadata=metadata,
            note=note,
        )
        written = _write_all(read.filter(_is_chunk), _tasks(counts), write_part)
        for one in written:
            report.add(one.report)
        _check_kept(report)
        unchanged()
        _publish(written, parts, table, output)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    notes = [one.note for one in written]
    return Finished(sum(one.rows for one in written), len(written), notes)


def _check_kept(report: ReadReport) -> None:
    if not report.kept:
        raise InputError(f"no usable text: {report.summary()}")


def _read(context, opened, pieces, columns, keep, numbers):
    """Read all pieces; return an RDD of (key, chunk) and, with key None, counts."""
    from pyspark import StorageLevel

    sources = []
    for piece in pieces:
        one = opened._replace(parts=(piece.source,), notes=())
        sources.append((piece.number, _Source(one, piece.span)))
    read = partial(_read_piece, columns=columns, keep=keep, numbers=numbers)
    found = context.parallelize(sources, max(1, len(sources))).flatMap(read)
    return found.persist(StorageLevel.DISK_ONLY)


def _read_piece(
    numbered_source: tuple[int, _Source],
    columns: SparkColumns,
    keep: Sequence[str] | None,
    numbers: str | None,
) -> Iterator[tuple[Key | None, Chunk | _Counts]]:
    number, (opened, span) = numbered_source
    report, sizes, schema, last = ReadReport(), [], None, -1
    most = columns.rows_at_once
    chunks = table_chunks(opened, report, most=most, keep=keep, span=span)
    for chunk in chunks if numbers is None else numbered(chunks, numbers):
        kept = chunk.kept
        if isinstance(kept, list):
            kept = pa.table(chunk.columns())
        columns.check_names(kept.column_names)
        schema = unified(schema, kept, chunk.rows)
        last = chunk.rows[-1]
        sizes.append(sum(len(text) for text in chunk.texts if text is not None))
        yield (number, len(sizes) - 1), chunk._replace(kept=as_stream(kept))
    rows, lines, source = max(report.read, last + 1), 0, opened.parts[0]
    # Lines are counted, for the numbers of those of the next piece of the same file.
    if span is not None and isinstance(source, File) and span[1] < source.size:
        layout = source.layout
        blocks = line_blocks(layout.stored, layout.form, ReadReport(), span)
        lines = sum(data.count(b"\n") for _, data in blocks)
    yield None, _Counts(number, rows, lines, sizes, schema, report)


def _is_counts(pair: tuple) -> bool:
    return pair[0] is None


def _is_chunk(pair: tuple) -> bool:
    return pair[0] is not None


def _identity(task: int) -> int:
    return task


def _with_task(
    task_of: Mapping[Key, int], pair: tuple[Key, Chunk]
) -> tuple[int, tuple[Key, Chunk]]:
    return task_of[pair[0]], pair


def _schema(
    counts: Iterable[_Counts], firsts: Sequence[int], columns: SparkColumns
) -> pa.Schema:
    """Return the columns that all files have, those that are added at the end."""
    known = None
    for count, first in zip(counts, firsts, strict=False):
        if count.schema is not None:
            known = unified(known, count.schema.empty_table(), [first])
    return pa.schema([*known, *columns.added], known.metadata)


def _tasks(counts: Iterable[_Counts]) -> dict[Key, int]:
    """Give neighbouring chunks to one task until it has `TASK_BYTES` of texts."""
    task_of, task, size = {}, 0, 0
    for count in counts:
        for place, more in enumerate(count.sizes):
            if size and size + more > TASK_BYTES:
                task, size = task + 1, 0
            task_of[count.number, place] = task
            size += more
    return task_of


def _write_all(chunks, task_of: Mapping[Key, int], write_part) -> list[_Written]:
    """Bring the chunks of each task together and do all tasks."""
    by_task = chunks.map(partial(_with_task, task_of))
    tasks = 1 + max(task_of.values())
    done = by_task.partitionBy(tasks, _identity).mapPartitionsWithIndex(write_part)
    # Of several attempts of a task, Spark gives one.
    return sorted(done.collect(), key=lambda one: one.task)


def _write_part(
    task: int,
    chunks: Iterable[tuple[int, tuple[Key, Chunk]]],
    columns: SparkColumns,
    folder: Path,
    schema: pa.Schema,
    firsts: Sequence[int],
    numbers: str | None,
    metadata: bytes,
    note: Note,
) -> Iterator[_Written]:
    """Ask the model about the chunks of a task and write them under a new name."""
    from pyspark import TaskContext

    ordered = sorted((pair for _, pair in chunks), key=lambda pair: pair[0])
    rows, texts, labels, report = [], [], [], ReadReport()
    for (piece, _), chunk in ordered:
        rows += [firsts[piece] + row for row in chunk.rows]
        texts += chunk.texts
        labels += chunk.labels
    added = columns.columns(rows, texts, report)
    path = folder / f"part-{task:06d}-{TaskContext.get().taskAttemptId()}.parquet"
    tables = _with_columns([chunk for _, chunk in ordered], rows, numbers, added)
    table_output.write_parquet(path, schema, tables, metadata)
    sync(path)
    size = path.stat().st_size
    yield _Written(task, path.name, size, len(rows), report, note(labels, added))


def _with_columns(
    chunks: Iterable[Chunk],
    rows: Sequence[int],
    numbers: str | None,
    added: Mapping[str, pa.Array],
) -> Iterator[pa.Table]:
    start = 0
    for chunk in chunks:
        table, end = of_stream(chunk.kept), start + len(chunk.rows)
        if numbers is not None:  # those of the piece become those of the input
            table = table.set_column(0, numbers, pa.array(rows[start:end], pa.int64()))
        for name, values in added.items():
            table = table.append_column(name, values.slice(start, end - start))
        yield table
        start = end


def _publish(
    written: Sequence[_Written], parts: Path, table: Path, output: Path
) -> None:
    """Rename what counts, and then the folder; attempts that do not count stay."""
    for number, one in enumerate(written):
        path = parts / one.name
        if not path.exists() or path.stat().st_size != one.size:
            raise InputError(
                f"{output.parent}: a worker wrote {one.name} there, and here is no such"
                " file; name an output on a file system that driver and workers share"
            )
        path.rename(table / f"part-{number:06d}.parquet")
    sync(table)
    try:
        name_folder(table, output)
    except FileExistsError as error:
        raise InputError(
            f"{output}: was filled by someone else meanwhile; choose another folder"
        ) from error
    sync(output.parent)
