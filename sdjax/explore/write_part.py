"""The part of the page where the model writes, with the unit held at two values."""

from collections.abc import Sequence
from typing import NamedTuple

import gradio as gr

from sdjax.errors import InputError
from sdjax.explore.link import Settings
from sdjax.explore.parts import FREE, Page, note
from sdjax.inference.streaming import ROOM


class WritePart(NamedTuple):
    """Its settings, in the order of `Settings`."""

    prompt: gr.Textbox
    length: gr.Slider
    temperature: gr.Slider
    seed: gr.Number
    left: gr.Slider
    right: gr.Slider


def build(page: Page, unit: gr.Textbox) -> WritePart:
    """Make the part; `unit` is the one that is held."""
    explorer = page.explorer
    prompt = gr.Textbox(label="The text begins with", lines=2, elem_id="prompt")
    with gr.Row():
        length = gr.Slider(10, ROOM, 200, step=10, label="Length", elem_id="length")
        temperature = gr.Slider(
            0, 1.5, 0.8, step=0.05, label="Temperature", elem_id="temperature"
        )
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="seed")
    gr.HTML(note("Both samples draw the same random numbers; only the unit differs."))
    columns = []
    with gr.Row():
        for side in ("left", "right"):
            with gr.Column(min_width=260):
                columns.append(
                    (
                        gr.Slider(
                            -1, 1, 0, step=0.01, label="Hold the unit at", elem_id=side
                        ),
                        gr.Checkbox(True, label="hold it", elem_id=f"{side}-held"),
                        gr.Textbox(
                            label="Sample",
                            lines=8,
                            max_lines=20,
                            interactive=False,
                            elem_id=f"{side}-sample",
                        ),
                    )
                )
    sliders, held, samples = zip(*columns, strict=True)
    with gr.Row():
        start = gr.Button("Write", variant="primary", elem_id="write")
        stop = gr.Button("Stop", variant="stop", elem_id="stop")
    status = gr.HTML(elem_id="write-status")

    def write(
        unit: str,
        prompt: str,
        length: int,
        temperature: float,
        seed: int | None,
        left: float,
        right: float,
        left_held: bool,
        right_held: bool,
        request: gr.Request,
    ):
        tab = page.tab(request)
        call = tab.begin("write")
        values = (left if left_held else None, right if right_held else None)
        settings = Settings(
            "", unit, False, prompt, int(length), temperature, seed or 0, left, right
        )
        try:
            for texts in explorer.write(
                prompt, explorer.unit(unit), values, settings.sampling()
            ):
                if not tab.goes_on("write", call):
                    if tab.stopped("write"):
                        yield gr.skip(), gr.skip(), note("stopped")
                    return
                grown = max(map(len, texts))
                yield *(prompt + text for text in texts), note(f"{grown:,} characters")
            yield gr.skip(), gr.skip(), note(f"{grown:,} characters, done")
        except InputError as error:
            yield "", "", note(error, bad=True)

    # The call that writes says so itself, after all that it has said before: what two
    # calls show may arrive in another order in a tab that was in the background.
    def stop_writing(request: gr.Request) -> None:
        page.tab(request).stop("write")

    settings = [prompt, length, temperature, seed, *sliders]
    start.click(
        write,
        [unit, *settings, *held],
        [*samples, status],
        trigger_mode="multiple",
        show_progress="hidden",
        **FREE,
    )
    stop.click(stop_writing, None, None, queue=False, **FREE)
    return WritePart(*settings)


def sliders(page: Page, unit: int, values: Sequence[float]) -> list:
    """Return the updates of the two sliders for a unit and the values it is held at."""
    explorer = page.explorer
    low, high = explorer.range_of(unit)
    ends = explorer.sides(unit)[:: explorer.scale(unit).sign]
    return [
        gr.update(
            minimum=low,
            maximum=high,
            value=value,
            label=f"Hold unit {explorer.label(unit)} at",
            info=" \u2026 ".join(ends),  # what the two ends of the slider mean
        )
        for value in values
    ]
