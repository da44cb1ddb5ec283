"""Tables of lines: which character divides them, what quotes mean, their rows."""

import csv
import io
import re
from typing import NamedTuple

from sdjax.data.formats.layout import Dialect, Layout
from sdjax.data.formats.options import Options
from sdjax.data.formats.table_rows import header, rows_of
from sdjax.errors import InputError

DELIMITERS = (",", "\t", ";", "|")  # of equals the first is taken
_SAMPLE_ROWS = 200
_PROPER = re.compile(r'"(?:[^"]|"")*"')  # a field that quotes hold together
_SENTENCE_WORDS = 5  # a name of a column has fewer
_ENDED = re.compile(r"\S+\s+\S+.*[.!?]$", re.DOTALL)  # words with a full stop


class Sample(NamedTuple):
    """The first rows of a table by some dialect.

    rows: fields, the header among them.
    fits: the part of the rows that have as many fields as the first one; 0 of one
        field or of rows that cannot be read.
    """

    rows: list[list[str]]
    fits: float


def sample(text: str, dialect: Dialect) -> Sample:
    """Read the first rows of some text, which ends with a whole line."""
    rows = []
    try:
        for row in rows_of(io.StringIO(text, newline="\n"), dialect):
            if row:
                rows.append(row)
            if len(rows) > _SAMPLE_ROWS:
                break
    except csv.Error as error:
        # A quote that is open where the sample ends says nothing.
        if "unexpected end" not in str(error):
            return Sample(rows, 0.0)
    if not rows or len(rows[0]) < 2:
        return Sample(rows, 0.0)
    same = sum(len(row) == len(rows[0]) for row in rows)
    return Sample(rows, same / len(rows))


def find_dialect(text: str, suffix: str, options: Options) -> tuple[Dialect, str]:
    """Find out how a table is written.

    Args:
        text: its beginning, of whole lines.
        suffix: of its name or "tsv" for `--format tsv`; those of tabs are believed.
        options: what is given there is taken.

    Returns:
        The dialect, and a note of what is unusual in it, or "".
    """
    given = Dialect(
        options.delimiter or ",",
        options.quoting != "none",
        options.escapechar,
        options.header,
    )
    delimiters = DELIMITERS
    if options.delimiter:
        delimiters = (options.delimiter,)
    elif suffix in (".tsv", ".tab"):
        delimiters = ("\t",)
    candidates = [given._replace(delimiter=d) for d in delimiters]
    if options.quoting == "auto" and not options.escapechar:
        candidates += [d._replace(escape="\\") for d in candidates if '\\"' in text]
        candidates += [
            d._replace(quoted=False)
            for d in candidates
            if not d.escape and d.delimiter == "\t" and _quotes_mean_nothing(text)
        ]
    fits = [sample(text, candidate).fits for candidate in candidates]
    if not any(fits):
        return candidates[0], ""
    best = candidates[fits.index(max(fits))]
    notes = []
    if best.delimiter != delimiters[0]:
        notes.append(f"fields divided by {best.delimiter!r}")
    if best.quoted != given.quoted:
        notes.append("quotes mean nothing in it")
    if best.escape != given.escape:
        notes.append("quotes within quotes are escaped by a backslash")
    return best, ", ".join(notes)


def _quotes_mean_nothing(text: str) -> bool:
    """Whether fields begin with a quote that nothing closes before the next tab."""
    fields = re.split(r"[\t\n]", text)
    quoted = [field.rstrip("\r") for field in fields if field.startswith('"')]
    return any(not _PROPER.fullmatch(field) for field in quoted)


def columns(layout: Layout, text: str, wanted: tuple[str, ...]) -> list[str]:
    """Return the names of a table's columns.

    Args:
        layout: of the table.
        text: its beginning.
        wanted: keys that the user names, or that usually hold texts: where one of them
            is in the first row, that is a header.

    Raises:
        InputError: two columns have one name, or the first row looks like data.
    """
    rows = sample(text, layout.dialect).rows
    if not rows:
        return []
    if not layout.dialect.header:
        return [str(i) for i in range(len(rows[0]))]
    names = header(rows[0])
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(
            f"{layout.stored}:1: the header names the column {twice!r} twice; rename"
            " one of them"
        )
    if not set(names) & set(wanted):
        for place, name in enumerate(names):
            if why := _like_data(name, [r[place] for r in rows[1:] if len(r) > place]):
                raise InputError(
                    f"{layout.stored}:1: {name[:60]!r} in the first row looks like data"
                    f" ({why}), not like the name of a column; give --no-header, and "
                    f"--text-key {_longest(rows)} for the column of the text"
                )
    return names


def _like_data(name: str, below: list[str]) -> str:
    if _is_number(name):
        numbers = sum(map(_is_number, below))
        if below and numbers >= 0.9 * len(below):
            return "a number above numbers"
    elif len(name.split()) >= _SENTENCE_WORDS or _ENDED.search(name):
        return "a sentence"
    return ""


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _longest(rows: list[list[str]]) -> int:
    """The column with the longest fields."""
    sizes = [
        sum(len(row[i]) for row in rows if len(row) > i) for i in range(len(rows[0]))
    ]
    return sizes.index(max(sizes))
