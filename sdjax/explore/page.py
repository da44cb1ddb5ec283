"""The page: its parts, the link that brings it back, and what happens on arrival."""

from pathlib import Path

import gradio as gr

from sdjax.errors import InputError
from sdjax.explore import read_part, table_part, write_part
from sdjax.explore.explorer import Explorer
from sdjax.explore.link import Settings
from sdjax.explore.parts import FREE, Page, note
from sdjax.explore.tabs import Tabs

CSS = """
.note { font-size: 0.85rem; margin: 0.2rem 0; }
.note.muted { opacity: 0.75; }
.note.bad { color: #b3261e; font-weight: 600; }
.dark .note.bad { color: #ff9d94; }
"""
# The link is shown in the address bar, too, so that a bookmark keeps it.
_TO_ADDRESS = "(link) => { history.replaceState(null, '', link); }"


def build(explorer: Explorer, files: Path, unit: int | None = None) -> gr.Blocks:
    """Make the page.

    Args:
        explorer: the model.
        files: folder for what is downloaded.
        unit: to begin with; None for the first one.
    """
    first = Settings.first(explorer, unit)
    page = Page(explorer, Tabs(explorer.reader), files)
    name = explorer.loaded.path
    with gr.Blocks(title="sdjax explore", analytics_enabled=False) as blocks:
        gr.HTML(note(f"{_size(explorer)}, {name}"))
        arrival = gr.HTML(elem_id="arrival")
        with gr.Tabs():
            with gr.Tab("Read", elem_id="read-tab"):
                read = read_part.build(page)
            with gr.Tab("Write", elem_id="write-tab"):
                write = write_part.build(page, read.unit)
            with gr.Tab("Table", elem_id="table-tab"):
                table_part.build(page, read.unit)
        with gr.Row():
            make = gr.Button("Link to what is shown", size="sm", elem_id="make-link")
            link = gr.Textbox(
                label="Link", buttons=["copy"], interactive=False, elem_id="link"
            )
        settings = [read.text, read.unit, read.bits, *write]

        def arrive(request: gr.Request):
            try:
                found = Settings.of_query(dict(request.query_params), explorer, first)
                said = ""
            except InputError as error:
                found, said = first, note(f"the link: {error}", bad=True)
            index = explorer.unit(found.unit)
            held = write_part.sliders(page, index, found[-2:])
            return [*found[:-2], *held, said]

        def chosen(unit: str):
            index = explorer.unit(unit)
            return [unit, *write_part.sliders(page, index, explorer.ends(index))]

        def typed(unit: str):
            try:
                return chosen(unit)[1:]
            except InputError:  # said where the text is read
                return gr.skip(), gr.skip()

        # Gradio hands the request to a parameter that has a place, not to a named one.
        def linked(request: gr.Request, *values) -> str:
            found = Settings(*values)
            return f"{request.headers['origin']}/?{found.query()}"

        def closed(request: gr.Request) -> None:
            page.tabs.close(request.session_hash)

        sliders = [write.left, write.right]
        blocks.load(arrive, None, [*settings, arrival], **FREE)
        read.unit.input(typed, read.unit, sliders, show_progress="hidden", **FREE)
        for listed in (read.ranking, read.active):
            listed.input(
                chosen, listed, [read.unit, *sliders], show_progress="hidden", **FREE
            )
        make.click(linked, settings, link, **FREE).then(
            None, link, None, js=_TO_ADDRESS
        )
        blocks.unload(closed)
    return blocks


def _size(explorer: Explorer) -> str:
    model = explorer.loaded.model
    layers = f" in {model.num_layers} layers" if model.num_layers > 1 else ""
    return f"{model.state_size:,} units{layers}"
