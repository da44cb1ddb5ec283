"""The rows of a table of lines, once it is known how its fields are told apart."""

import csv
import io
import itertools
import operator
from collections.abc import Callable, Collection, Iterable, Iterator

from sdjax.data.formats import lines as line_files
from sdjax.data.formats.compression import Stored
from sdjax.data.formats.layout import Dialect, Layout, Record, bad_bytes
from sdjax.data.read_report import ReadReport
from sdjax.errors import InputError

_MOST_LINES = 10**6  # of one row; a quote left open would swallow a whole file


def rows_of(lines: Iterator[str], dialect: Dialect) -> Iterator[list[str]]:
    """Read rows; `csv.Error` for those that are none.

    `line_num` of it is the number of lines that have been read.
    """
    if not dialect.quoted:
        return _Unquoted(lines, dialect.delimiter)
    # Strict, so that a quote left open is an error and not one giant review.
    return csv.reader(
        lines,
        strict=True,
        delimiter=dialect.delimiter,
        doublequote=not dialect.escape,
        escapechar=dialect.escape or None,
    )


def header(fields: list[str]) -> list[str]:
    """Return the names that a header gives; a column without a name gets its number."""
    return [name.strip() or str(i) for i, name in enumerate(fields)]


def csv_records(
    layout: Layout, report: ReadReport, wanted: Collection[str] | None = None
) -> Iterator[Record]:
    """Read the rows of a table below its header.

    Args:
        wanted: keep only these columns; None for all.
    """
    csv.field_size_limit(line_files.MAX_LINE_BYTES)
    blocks = line_files.line_blocks(layout.stored, layout.form, report)
    lines = _Lines(layout.stored)
    reader = rows_of(
        itertools.chain.from_iterable(lines.decoded(blocks)), layout.dialect
    )
    names = _header(layout, reader, lines) if layout.dialect.header else None
    pick = None if names is None else _columns(names, wanted)
    for row in itertools.count():
        before = lines.before = reader.line_num
        problem, detail, values = None, "", []
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error:
            problem = "malformed CSV row"
            detail = "a quote is not closed; give --quoting none if quotes mean nothing"
        else:
            if not values or (values == [""] and not layout.dialect.quoted):
                continue
            if names is None:
                names = [str(i) for i in range(len(values))]
                pick = _columns(names, wanted)
            if lines.bad and (bad := lines.first_bad(reader.line_num)):
                problem, detail = bad_bytes(bad, layout.form)
            elif len(values) != len(names):
                problem = "CSV row with another number of columns than the header"
                detail = f"{len(values)} instead of {len(names)}"
        if problem is None:
            report.read += 1
            yield row, before + 1, pick(values)
        else:
            # An open quote swallows rows up to the next quote: count every line.
            count = reader.line_num - before
            lines.check_open(count)
            report.read += count
            report.skip(problem, f"{layout.stored}:{before + 1}", count, detail)


def _header(layout: Layout, reader: Iterator, lines: "_Lines") -> list[str]:
    """Read the names of the columns."""
    try:
        first = next(reader, [])
    except csv.Error as error:
        raise InputError(f"{layout.stored}:1: not a CSV header ({error})") from error
    if bad := lines.first_bad(reader.line_num):
        _, detail = bad_bytes(bad, layout.form)
        raise InputError(f"{layout.stored}:1: the CSV header is not UTF-8: {detail}")
    return header(first)


def _columns(
    names: list[str], wanted: Collection[str] | None
) -> Callable[[list[str]], dict[str, str]]:
    """Return what makes a record of the fields of a row."""
    places = [i for i, n in enumerate(names) if wanted is None or n in wanted]
    if len(places) < 2:  # of which `itemgetter` makes no tuple
        return lambda values: {names[i]: values[i] for i in places}
    kept, get = [names[i] for i in places], operator.itemgetter(*places)
    return lambda values: dict(zip(kept, get(values), strict=True))


class _Lines:
    """The lines of a table as text; of some last ones which do not decode.

    A block is decoded at once and divided by `io.StringIO`: a step of Python for each
    line took a tenth of the time of preparing a corpus.

    before: lines before the row that is being read.
    bad: lines of it and of the block, by their number from 1, that do not decode.
    """

    def __init__(self, stored: Stored):
        self._stored = stored
        self.before, self.bad = 0, {}

    def decoded(self, blocks: Iterator[tuple[int, bytes]]) -> Iterator[Iterable[str]]:
        for first, block in blocks:
            self.check_open(first - 1 - self.before)
            if self.bad:
                self.bad = {n: x for n, x in self.bad.items() if n > self.before}
            try:
                text = block.decode()
            except UnicodeDecodeError:
                self._find_bad(first, block)
                # A newline byte is never part of a longer UTF-8 character.
                text = block.decode(errors="replace")
            if not text.endswith("\n"):  # the file's last line
                text += "\n"
            yield io.StringIO(text, newline="\n")

    def _find_bad(self, first: int, block: bytes) -> None:
        for number, line in enumerate(line_files.split(block), first):
            try:
                line.decode()
            except UnicodeDecodeError:
                self.bad[number] = line

    def first_bad(self, last: int) -> bytes | None:
        """Return the first line of the row that does not decode; `last`: its last."""
        return next((x for n, x in self.bad.items() if self.before < n <= last), None)

    def check_open(self, lines: int) -> None:
        """Refuse a row of very many lines."""
        if lines > _MOST_LINES:
            raise InputError(
                f"{self._stored}:{self.before + 1}: a quote that opens here is not"
                f" closed within {_MOST_LINES:,} lines; mend it, or give --quoting"
                " none if quotes mean nothing"
            )


class _Unquoted:
    """Rows of a table in which quotes mean nothing: a line is a row."""

    def __init__(self, lines: Iterator[str], delimiter: str):
        self._lines, self._delimiter = lines, delimiter
        self.line_num = 0

    def __iter__(self):
        return self

    def __next__(self) -> list[str]:
        line = next(self._lines)
        self.line_num += 1
        return line.rstrip("\r\n").split(self._delimiter)
