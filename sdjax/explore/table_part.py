"""The part of the page that scores a table."""

import tempfile
from pathlib import Path

import gradio as gr

from sdjax.errors import InputError
from sdjax.explore.parts import FREE, Page, note
from sdjax.explore.table import ROWS, open_table, scored, write_table

_SHOWN = 10  # rows on the page


def build(page: Page, unit: gr.Textbox) -> None:
    """Make the part; `unit` is the one whose value each row gets."""
    limit = f"A CSV file with a header, up to {ROWS:,} rows."
    gr.HTML(note(f"{limit} A cell that a spreadsheet would run gets an apostrophe."))
    given = gr.File(label="Table", file_count="single", elem_id="table")
    column = gr.Dropdown([], label="Column of the texts", elem_id="column")
    start = gr.Button("Score", variant="primary", elem_id="score")
    status = gr.HTML(elem_id="table-status")
    out = gr.File(label="Scored table", interactive=False, elem_id="scored")
    head = gr.Dataframe(
        label="Its first rows", interactive=False, wrap=True, elem_id="rows"
    )

    def opened(path: str | None):
        if path is None:
            return gr.update(choices=[], value=None), ""
        try:
            table = open_table(path)
        except (InputError, OSError) as error:
            return gr.update(choices=[], value=None), note(_named(error, path), True)
        found = table.text or table.columns[0]
        return gr.update(choices=table.columns, value=found), ""

    def score(path: str | None, column: str | None, unit: str):
        nothing = gr.skip(), gr.skip()
        if path is None or column is None:
            yield note("give a table and the column of its texts", True), *nothing
            return
        try:
            table = open_table(path)
            index = page.explorer.unit(unit)
            for found in scored(page.explorer, table, column, index):
                done, rows, report = found
                yield note(f"{done:,} of {report.kept:,} texts scored"), *nothing
            folder = Path(tempfile.mkdtemp(dir=page.files))
            write_table(folder / f"{Path(path).stem}-scored.csv", rows)
        except (InputError, OSError) as error:
            yield note(_named(error, path), True), *nothing
            return
        said = f"{report.kept:,} of {report.read:,} rows scored"
        if report.skipped:
            said += f"; {_named(report.summary(), path)}"
        shown = [[str(cell) for cell in row.values()] for row in rows[:_SHOWN]]
        names = list(rows[0]) if rows else []
        table = {"headers": names, "data": shown}
        yield note(said), str(folder / f"{Path(path).stem}-scored.csv"), table

    given.change(opened, given, [column, status], **FREE)
    start.click(
        score,
        [given, column, unit],
        [status, out, head],
        show_progress="hidden",
        **FREE,
    )


def _named(message: object, path: str) -> str:
    """Return a message with the file's own name for where Gradio keeps it."""
    return str(message).replace(str(path), Path(path).name)
