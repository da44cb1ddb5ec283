"""The part of the page that reads a text: colours, the line, bits, the unit."""

import time
from typing import NamedTuple

import gradio as gr
from markupsafe import Markup

from sdjax.errors import InputError
from sdjax.explore.parts import FREE, Page, note
from sdjax.explore.reading import Reading
from sdjax.inference.prefixes import States

_PATIENCE = 0.4  # seconds without a sign of progress


class ReadPart(NamedTuple):
    """Its settings, and the list of the units that are active in the text."""

    text: gr.Textbox
    unit: gr.Textbox
    bits: gr.Checkbox
    ranking: gr.Dropdown
    active: gr.Dropdown


def build(page: Page) -> ReadPart:
    """Make the part."""
    explorer = page.explorer
    speed = explorer.usual.bytes_per_second
    with gr.Row():
        with gr.Column(scale=3):
            text = gr.Textbox(
                label="Text", lines=5, max_lines=12, elem_id="text", autofocus=True
            )
            limit = f"Up to {explorer.limit:,} bytes are read, {speed:,.0f} a second"
            gr.HTML(note(f"{limit} here, and after a change only what is new."))
            status = gr.HTML(elem_id="status")
            verdict = gr.HTML(elem_id="verdict")
            coloured = gr.HTML(elem_id="coloured")
            coloured_bits = gr.HTML(elem_id="coloured-bits")
            gr.Examples(explorer.examples, text, label="Examples", elem_id="examples")
        with gr.Column(scale=1, min_width=220):
            unit = gr.Textbox(
                label="Unit", info="a number, or LAYER:NUMBER", elem_id="unit"
            )
            ranking = gr.Dropdown(
                page.choices(explorer.ranking()),
                value=None,
                label="by the classifier's ranking",
                visible=explorer.classifier is not None,
                elem_id="ranking",
            )
            active = gr.Dropdown(
                [], value=None, label="most active in this text", elem_id="active"
            )
            bits = gr.Checkbox(label="Bits of each character", elem_id="bits")

    def read(text: str, unit: str, bits: bool, request: gr.Request):
        tab = page.tab(request)
        call, nothing = tab.begin("read"), gr.skip()
        if not text:
            yield "", "", "", "", nothing
            return
        try:
            index, data = explorer.unit(unit), explorer.encode(text)
        except InputError as error:
            yield note(error, bad=True), "", "", "", nothing
            return
        shown = time.monotonic()
        for found in tab.read(data, call):
            if isinstance(found, States):
                reading = explorer.reading(found)
                yield (
                    "",
                    _verdict(page, reading, index),
                    explorer.coloured(reading, index),
                    explorer.coloured_bits(reading) if bits else "",
                    gr.update(choices=page.choices(explorer.most_active(reading))),
                )
            elif found is None:
                yield (nothing,) * 5
            elif time.monotonic() - shown > _PATIENCE:
                shown = time.monotonic()
                far = f"{found:,} of {len(data):,} bytes read"
                yield note(far), *(nothing,) * 4

    gr.on(
        [text.change, unit.change, bits.change],
        read,
        [text, unit, bits],
        [status, verdict, coloured, coloured_bits, active],
        trigger_mode="multiple",
        show_progress="hidden",
        **FREE,
    )
    return ReadPart(text, unit, bits, ranking, active)


def _verdict(page: Page, reading: Reading, unit: int) -> str:
    """Return in one line what the classifier, the unit and the model say of a text."""
    value = reading.states.cell[-1, unit]
    parts = [f"unit {page.explorer.label(unit)} ends at {value:+.2f}"]
    parts += [f"p({name}) = {p:.3f}" for name, p in reading.probabilities.items()]
    parts.append(f"{reading.bits_per_character:.2f} bits per character")
    called = ", ".join(reading.called) or "none"
    head = Markup("<b>{}</b>, ").format(called) if reading.probabilities else ""
    return str(Markup("<p>{}{}</p>").format(head, ", ".join(parts)))
