"""The result of a study, written: a page, its figures, its tables and its numbers."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from sdjax.errors import naming
from sdjax.files import write_whole
from sdjax.integrity import file_digests, sealed
from sdjax.report import style
from sdjax.report.coloured_text import palette
from sdjax.report.html import render

PAGE, TABLES, RESULTS = "study.html", "study.md", "results.json"


class Drawing(NamedTuple):
    """A figure of the page.

    name: of its files, without the ending.
    height: inches.
    draw: draws it.
    caption: says how to read it.
    """

    name: str
    height: float
    draw: Callable[[Figure], None]
    caption: str


class Table(NamedTuple):
    """A table of text."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class Page(NamedTuple):
    """What a study says.

    title: of the page.
    subtitle: what was run.
    verdict: the answer.
    figures, tables: in the order in which they are shown.
    notes: how it was measured, and what it cannot show.
    numbers: JSON-able, all that is shown.
    """

    title: str
    subtitle: str
    verdict: str
    figures: Sequence[Drawing]
    tables: Sequence[Table]
    notes: Sequence[str]
    numbers: Mapping


def write(folder: Path, page: Page) -> Path:
    """Write `study.html`, `study.md`, the figures, and `results.json` last.

    `results.json` has the numbers and the digests of the other files.

    Args:
        folder: of the study; older files of these names are replaced.

    Returns:
        The path of the page.

    Raises:
        OSError: names the folder; a file could not be written.
    """
    with naming(folder):
        figures = []
        for drawing in page.figures:
            path = folder / f"{drawing.name}.png"
            style.write_figure(path, drawing.height, drawing.draw)
            svg = path.with_suffix(".svg").read_text(encoding="utf-8")
            shown = Markup(style.inline(svg, escape(drawing.caption)))
            figures.append({"svg": shown, "caption": drawing.caption})
        html = render(
            "study.html",
            title=page.title,
            palette=palette(),
            page=page,
            figures=figures,
        )
        write_whole(folder / PAGE, html.encode())
        write_whole(folder / TABLES, _markdown(page).encode())
        endings = (f"{d.name}.{kind}" for d in page.figures for kind in ("png", "svg"))
        digests = file_digests(folder, sorted([PAGE, TABLES, *endings]))
        numbers = {"verdict": page.verdict, **page.numbers, "digests": digests}
        text = json.dumps(sealed(numbers), indent=1) + "\n"
        write_whole(folder / RESULTS, text.encode())
    return folder / PAGE


def _markdown(page: Page) -> str:
    parts = [f"# {page.title}", page.subtitle, page.verdict]
    for table in page.tables:
        lines = [_row(table.header), _row(["---"] * len(table.header))]
        parts += [f"## {table.caption}", "\n".join([*lines, *map(_row, table.rows)])]
    parts += ["## How to read it", *(f"- {note}" for note in page.notes)]
    return "\n\n".join(parts) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
