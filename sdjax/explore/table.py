"""A table of texts, given back with the probability and the unit's value of each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sdjax.data import formats
from sdjax.data.formats.layout import TABLES, Layout
from sdjax.data.formats.options import Options
from sdjax.data.formats.recognise import recognise
from sdjax.data.keys import TEXT_KEYS, find_keys
from sdjax.data.listing import expand
from sdjax.data.read_report import ReadReport
from sdjax.errors import InputError, UnreadableText
from sdjax.explore.explorer import Explorer
from sdjax.files import row_file
from sdjax.inference.unit_scoring import UnitScorer

ROWS = 10_000  # of a table
_AT_ONCE = 64  # texts between two looks at how far it is


class Table(NamedTuple):
    """A table that was opened: how it is read, its columns, the one of the texts."""

    layout: Layout
    columns: list[str]
    text: str | None


def open_table(path: str | Path) -> Table:
    """Find out how a table is read and which columns it has.

    `text` is the usual column of texts, None where it has none of a usual name.

    Raises:
        InputError: it cannot be read, or is no table.
    """
    stored = expand([str(path)])[0][0]
    layout, columns, _ = recognise(stored, Options(), TEXT_KEYS)
    if layout.format not in TABLES or not columns:
        raise InputError(
            f"{Path(path).name}: has no columns; give a table with a header, such as a"
            " CSV file"
        )
    return Table(layout, columns, next((k for k in TEXT_KEYS if k in columns), None))


def scored(
    explorer: Explorer, table: Table, column: str, unit: int
) -> Iterator[tuple[int, list[dict[str, Any]], ReadReport]]:
    """Score a column of a table; yield how far it is, the rows so far, the report.

    The rows are those of the table, as they were, with what the classifier says and
    the value of the unit after the text. A row without a text has neither; it is
    counted in the report.

    Args:
        table: as `open_table` finds it.
        column: of the texts.
        unit: index in the whole state.

    Raises:
        InputError: there is no such column, or the table has more than `ROWS` rows.
    """
    find_keys("the table", "column", table.columns, "text", column)
    report, rows = ReadReport(), []
    for _, place, values in formats.file_records(table.layout, report, table.columns):
        text = values.get(column)
        if not isinstance(text, str) or not text.strip():
            report.skip("no text", f"row {place}")
        elif reason := _unreadable(explorer, text):
            report.skip(reason, f"row {place}")
        rows.append(dict(values))
        if len(rows) > ROWS:
            raise InputError(
                f"the table has more than {ROWS:,} rows: use sdjax classify --input"
            )
    whole = [
        place
        for place, row in enumerate(rows)
        if isinstance(row.get(column), str)
        and row[column].strip()
        and not _unreadable(explorer, row[column])
    ]
    names = _names(explorer, unit, table.columns)
    for row in rows:
        row |= dict.fromkeys(names, "")
    by_unit = None
    if explorer.scorer is None or unit != explorer.sentiment_unit:
        by_unit = UnitScorer(explorer.loaded, _place(explorer, unit))
    yield 0, rows, report
    for start in range(0, len(whole), _AT_ONCE):
        places = whole[start : start + _AT_ONCE]
        texts = [rows[place][column] for place in places]
        scores = (
            explorer.scorer.score(texts) if explorer.scorer else [None] * len(texts)
        )
        values = by_unit.score(texts) if by_unit else scores
        for place, score, value in zip(places, scores, values, strict=True):
            found = []
            if score is not None:
                found = ["|".join(score.called), *score.probabilities.values()]
            rows[place] |= dict(zip(names, [*found, value.unit], strict=True))
        yield start + len(places), rows, report


def _unreadable(explorer: Explorer, text: str) -> str | None:
    try:
        explorer.normalisation.encode(text)
    except UnreadableText as error:
        return error.reason
    return None


def _place(explorer: Explorer, unit: int) -> str:
    """Return a unit as `UnitScorer` takes it."""
    model = explorer.loaded.model
    layer, number = divmod(unit, model.hidden_size)
    return f"{layer}:{number}" if model.num_layers > 1 else str(number)


def _names(explorer: Explorer, unit: int, columns: list[str]) -> list[str]:
    """Return names of the new columns, with a bar where the table has that name."""
    wanted = []
    if explorer.classifier is not None:
        count = len(explorer.classifier.thresholds)
        wanted = ["called", *(f"p_{c}" for c in explorer.classifier.classes[-count:])]
    names = []
    for name in [*wanted, f"unit_{explorer.label(unit)}"]:
        while name in columns:
            name += "_"
        names.append(name)
    return names


def write_table(path: Path, rows: list[dict[str, Any]]) -> int:
    """Write rows as CSV; return how many cells got an apostrophe, as formulas do."""
    with row_file(path) as write:
        return write(rows)
