"""What the parts of the page share."""

from pathlib import Path
from typing import NamedTuple

import gradio as gr
from markupsafe import Markup

from sdjax.explore.explorer import Explorer
from sdjax.explore.tabs import Tab, Tabs

# Every call of a part may run beside the others, of this tab and of others.
FREE = {"concurrency_limit": None, "api_visibility": "private"}


class Page(NamedTuple):
    """The model, the open tabs, and where files for download are kept."""

    explorer: Explorer
    tabs: Tabs
    files: Path

    def tab(self, request: gr.Request) -> Tab:
        """Return the tab that a call comes from."""
        return self.tabs.of(request.session_hash)

    def unit_name(self, unit: int) -> str:
        """Return a unit as the lists show it."""
        label = self.explorer.label(unit)
        if unit != self.explorer.sentiment_unit:
            return label
        low, high = self.explorer.sides(unit)
        return f"{label} ({low} / {high})"

    def choices(self, units: list[int]) -> list[tuple[str, str]]:
        """Return units as a list to choose from."""
        return [(self.unit_name(unit), self.explorer.label(unit)) for unit in units]


def note(text: object, bad: bool = False) -> str:
    """Return a line for the reader; the text is escaped."""
    kind = "bad" if bad else "muted"
    return str(Markup('<p class="note {}">{}</p>').format(kind, text))
