"""A table with all of its columns, chunk by chunk: each row's text beside what is kept.

Parquet and Arrow come as Arrow's batches, of which only the columns of the text and the
label are decoded. Everything else comes record by record, as `sdjax.data.formats` reads
it: of a delimited table every cell is the string that it was.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa

from sdjax.data import formats
from sdjax.data.arrow import as_columns
from sdjax.data.formats import columnar
from sdjax.data.keys import Keys, value_at
from sdjax.data.parts import Dataset, File
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import Input
from sdjax.errors import InputError

# What a chunk may hold: enough texts to sort by length, few enough to lose in a crash.
CHUNK_ROWS = 4096
CHUNK_BYTES = 2**21  # of strings, or of Arrow's columns
_PIECE_ROWS = 256  # decoded together


class Chunk(NamedTuple):
    """Some rows of a table.

    rows: their numbers in the input, from 0.
    texts: the text of each; None where a row has none that can be used.
    labels: what was read of `--label-key`; None where that is nothing.
    kept: the columns as they are: a table of Arrow, or the records.
    position: of the `ReadReport` behind these rows.
    """

    rows: Sequence[int]
    texts: Sequence[str | None]
    labels: Sequence[float | None]
    kept: pa.Table | list[dict[str, Any]]
    position: int = 0

    def columns(self) -> dict[str, pa.Array | pa.ChunkedArray]:
        """Return what is kept as columns of Arrow; raises as `as_columns`."""
        if isinstance(self.kept, list):
            return as_columns(self.kept, self.rows)
        return dict(zip(self.kept.column_names, self.kept.columns, strict=True))

    def since(self, place: int) -> "Chunk":
        """Return the rows from a place on."""
        kept = self.kept
        kept = kept[place:] if isinstance(kept, list) else kept.slice(place)
        rows, texts, labels = self.rows[place:], self.texts[place:], self.labels[place:]
        return Chunk(rows, texts, labels, kept, self.position)


def table_chunks(
    opened: Input,
    report: ReadReport,
    *,
    most: int = 0,
    keep: Sequence[str] | None = None,
    skip: int = 0,
    span: tuple[int, int] | None = None,
) -> Iterator[Chunk]:
    """Read all of an input, every row of it, in memory that a chunk bounds.

    A row without a text that can be used is given all the same, and counted as skipped.
    A line that is no row at all (`"a","b` in a table, half an object) has no columns:
    it is counted alone.

    Args:
        opened: what is read; of its labels the first one is.
        report: counts what is read while the chunks are consumed.
        most: rows in a chunk; 0 for `CHUNK_ROWS`.
        keep: columns that are kept; None for all.
        skip: leave out so many rows, which are counted all the same.
        span: read only the lines that begin in this range of bytes; of an input that is
            one plain file of lines. Rows are numbered from its first one.

    Raises:
        InputError: a file is damaged, has no column that is to be kept, or gives two
            columns one name.
    """
    most, waiting, size = most or CHUNK_ROWS, [], 0
    for piece, length in _pieces(opened, report, most, keep, span):
        if skip >= len(piece.rows):
            skip -= len(piece.rows)
            continue
        piece, skip = piece.since(skip), 0
        rows = sum(len(held.rows) for held in waiting) + len(piece.rows)
        if waiting and (rows > most or not _alike(waiting[-1], piece)):
            yield _joined(waiting)
            waiting, size = [], 0
        waiting.append(piece)
        size += length
        if size >= CHUNK_BYTES:
            yield _joined(waiting)
            waiting, size = [], 0
    if waiting:
        yield _joined(waiting)


def numbered(chunks: Iterable[Chunk], name: str) -> Iterator[Chunk]:
    """Put the number of each row in the input before its columns.

    Raises:
        InputError: there is a column of that name.
    """
    for chunk in chunks:
        kept = chunk.kept
        if isinstance(kept, list):
            names = {key for record in kept for key in record}
            pairs = zip(chunk.rows, kept, strict=True)
            numbers = [{name: row, **record} for row, record in pairs]
        else:
            names, rows = kept.column_names, pa.array(chunk.rows, pa.int64())
            numbers = kept.add_column(0, name, rows)
        if name in names:
            raise InputError(
                f"the input has a column {name!r}, which is also the name of the number"
                " of a row; give --prefix, which is put before it"
            )
        yield chunk._replace(kept=numbers)


def of_texts(texts: Sequence[str], report: ReadReport, skip: int) -> Iterator[Chunk]:
    """Make a table of some texts, with one column: text.

    Args:
        texts: as somebody typed them.
        report: counts them.
        skip: as for `table_chunks`.
    """
    for row, text in enumerate(texts):
        report.read += 1
        if not text.strip():
            report.skip("empty text", f"argument:{row + 1}")
    for start in range(skip, len(texts), CHUNK_ROWS):
        some = texts[start : start + CHUNK_ROWS]
        used = [text if text.strip() else None for text in some]
        rows = range(start, start + len(some))
        yield Chunk(rows, used, [None] * len(some), [{"text": text} for text in some])


def _alike(first: Chunk, second: Chunk) -> bool:
    """Whether two pieces can be put together."""
    if isinstance(first.kept, list) or isinstance(second.kept, list):
        return type(first.kept) is type(second.kept)
    return first.kept.schema.equals(second.kept.schema)


def _joined(pieces: list[Chunk]) -> Chunk:
    def every(name: str) -> list:
        return [value for piece in pieces for value in getattr(piece, name)]

    if isinstance(pieces[0].kept, list):
        kept = every("kept")
    else:
        kept = pa.concat_tables([piece.kept for piece in pieces])
    rows, texts, labels = every("rows"), every("texts"), every("labels")
    return Chunk(rows, texts, labels, kept, pieces[-1].position)


def _pieces(
    opened: Input, report: ReadReport, most: int, keep: Sequence[str] | None, span
) -> Iterator[tuple[Chunk, int]]:
    """Yield a few rows at a time, and how many bytes they hold."""
    if all(isinstance(part, File) for part in opened.parts):
        report.total, report.unit = sum(p.size for p in opened.parts), "B"
    first, reached = 0, 0
    for part in opened.parts:
        before, row = report.read, -1
        keys = part.keys
        label = (keys.label[0], keys.labels[0]) if keys.label else None
        columnar_file = isinstance(part, File) and part.layout.columnar
        pieces = _of_batches if columnar_file else partial(_of_records, span=span)
        for piece, length in pieces(part, label, report, min(most, _PIECE_ROWS), keep):
            row = piece.rows[-1]
            rows = [first + r for r in piece.rows]
            yield piece._replace(rows=rows, position=report.position), length
        first += max(report.read - before, row + 1)
        if isinstance(part, File):
            reached += part.size
            report.position = reached


def _of_records(
    part: File | Dataset, label, report: ReadReport, most: int, keep, span
) -> Iterator[tuple[Chunk, int]]:
    if isinstance(part, File):
        records = formats.file_records(part.layout, report, span=span)
    else:
        records = part.records(report)
    keys, checked = part.keys._replace(label=()), keep is None
    rows, texts, labels, kept, size = [], [], [], [], 0
    for record in records:
        row, _, values = record
        rows.append(row)
        texts.append(_text(keys, record, report))
        labels.append(_label(values, label))
        size += sum(len(v) for v in values.values() if type(v) is str)
        kept.append(values)
        if len(rows) == most or size >= CHUNK_BYTES:
            checked = checked or _check_kept(keys.place, kept, keep)
            yield Chunk(rows, texts, labels, _only(kept, keep)), size
            rows, texts, labels, kept, size = [], [], [], [], 0
    if rows:
        checked or _check_kept(keys.place, kept, keep)
        yield Chunk(rows, texts, labels, _only(kept, keep)), size


def _of_batches(
    part: File, label, report: ReadReport, most: int, keep
) -> Iterator[tuple[Chunk, int]]:
    keys, row = part.keys._replace(label=()), 0
    decoded = [*keys.text, *([label[0]] if label else [])]
    decoded += [key.partition(".")[0] for key in decoded]
    columns = None
    if keep is not None:
        _check_names(keys.place, columnar.column_names(part.layout), keep)
        columns = [*decoded, *keep]
    for batch in columnar.columnar_batches(part.layout, report, columns):
        names = batch.schema.names
        if twice := next((n for n in names if names.count(n) > 1), None):
            raise InputError(f"{keys.place}: two columns are called {twice!r}")
        needed = batch.select([name for name in names if name in decoded])
        for start in range(0, len(batch), most):
            share = needed.slice(start, most)
            values = {
                r: (r, place, found)
                for r, place, found in columnar.batch_records(
                    share, row, part.layout.stored, report
                )
            }
            rows = range(row, row + len(share))
            texts = [
                _text(keys, values[r], report) if r in values else None for r in rows
            ]
            labels = [
                _label(values[r][2], label) if r in values else None for r in rows
            ]
            kept = batch if keep is None else batch.select(list(keep))
            kept = pa.Table.from_batches([kept.slice(start, most)])
            yield Chunk(rows, texts, labels, kept), kept.nbytes
            row += len(share)


def _text(keys: Keys, record, report: ReadReport) -> str | None:
    """Return the text of a record; None, and counted, where there is none."""
    return next((text for _, _, text, _ in keys.pick([record], report)), None)


def _label(values: dict[str, Any], label) -> float | None:
    if label is None:
        return None
    key, how = label
    found = how.read(value_at(values, key))
    return found if type(found) is float else None


def _only(records: list[dict], keep: Sequence[str] | None) -> list[dict]:
    if keep is None:
        return records
    return [{name: values.get(name) for name in keep} for values in records]


def _check_kept(place: str, records: list[dict], keep: Sequence[str]) -> bool:
    names = dict.fromkeys(name for values in records for name in values)
    _check_names(place, list(names), keep)
    return True


def _check_names(place: str, names: Sequence[str], keep: Sequence[str]) -> None:
    missing = next((name for name in keep if name not in names), None)
    if missing is not None:
        shown = ", ".join(islice(names, 50)) or "none"
        raise InputError(
            f"{place}: no column {missing!r} to keep; columns that exist: {shown}"
        )
