"""The style that all figures share, and writing them as PNG and SVG."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sdjax.files import write_whole

DPI = 200
WIDTH = 5.8  # inches; narrow, so that text stays readable on a phone
# Every colour has a role. A page replaces the colours of an SVG by its own for the
# same roles, for example in dark mode.
INK, GREY, PALE, PAPER = "#2b2b2b", "#7d7d7d", "#c9cdd1", "#fefefe"
NEGATIVE, POSITIVE, ACCENT, OCHRE = "#c8553d", "#2b7a9e", "#3d6f4e", "#a8741a"
SIDES = (NEGATIVE, POSITIVE)
ROLES = {
    "ink": INK,
    "grey": GREY,
    "pale": PALE,
    "paper": PAPER,
    "negative": NEGATIVE,
    "positive": POSITIVE,
    "accent": ACCENT,
    "ochre": OCHRE,
}
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelsize": 9.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.4,
}


def legend_above(axes, **options) -> None:
    """Put the legend between title and axes, so that the axes keep their width."""
    count = len(axes.get_legend_handles_labels()[1])
    columns = options.pop("ncols", min(count, 4))
    rows = -(-count // columns)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        borderaxespad=0.2,
        borderpad=0.0,
        ncols=columns,
        **options,
    )
    axes.set_title(axes.get_title(loc="left"), pad=8 + 15 * rows)


def write_png(
    path: Path, height: float, draw: Callable[[Figure], None], *, width: float = WIDTH
) -> None:
    """Draw a figure in the shared style and write it as PNG, atomically.

    Args:
        path: of the PNG.
        height, width: inches.
        draw: draws on the figure.
    """
    with matplotlib.rc_context(STYLE):
        _write(Path(path), _figure(width, height, draw))


def write_figure(path: Path, height: float, draw: Callable[[Figure], None]) -> None:
    """Draw a figure of `WIDTH` and write it as PNG and, beside it, as SVG.

    The SVG has a transparent background and text as outlines. The same data give the
    same bytes.

    Args:
        path: of the PNG; the SVG has the same name.
        height: inches.
        draw: draws on the figure.
    """
    path = Path(path)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": path.stem}):
        figure = _figure(WIDTH, height, draw)
        _write(path, figure)
        _write(path.with_suffix(".svg"), figure, transparent=True)


def inline(svg: str, label: str) -> str:
    """Prepare an SVG for embedding in a page: no XML header, the page's colours.

    Args:
        svg: as written by `write_figure`.
        label: alternative text for screen readers; already escaped.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.S)
    for role, colour in ROLES.items():
        body = body.replace(colour, f"var(--{role})")
    return body.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _figure(width: float, height: float, draw: Callable[[Figure], None]) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.08, hspace=0.05)
    FigureCanvasAgg(figure)
    draw(figure)
    return figure


def _write(path: Path, figure: Figure, **options) -> None:
    metadata = {"Date": None} if path.suffix == ".svg" else None
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format=path.suffix[1:], dpi=DPI, metadata=metadata, **options
    )
    write_whole(path, buffer.getvalue())
