"""The figure of texts whose characters are coloured by the value of a unit."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path as FilePath

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from sdjax.features.trace import TracedText, characters
from sdjax.report.coloured_text import MISSING, STOPS, Scale
from sdjax.report.style import INK, SIDES, write_png

SENTIMENT = LinearSegmentedColormap.from_list("sentiment", STOPS)
WIDTH = 8.0  # inches
COLUMNS = 92  # characters in a line of coloured text
LINES = 5  # lines of one text; longer texts are cut
_MARGIN, _LINE_HEIGHT = 0.12, 0.205  # inches
_ADVANCE = 0.602  # em, the width of every character of DejaVu Sans Mono
ELLIPSIS = "\u2026"


def coloured_texts(
    examples: Sequence[tuple[str, TracedText]],
    unit: int | str,
    scale: Scale,
    path: FilePath,
    sides: tuple[str, str] = ("negative", "positive"),
) -> None:
    """Draw texts with the background of each character coloured by the unit's value.

    White is the unit's threshold; on the blue side the unit alone predicts positive, on
    the red side negative. A character of several bytes has the value after its last.

    Args:
        examples: (heading, traced text), in drawing order.
        unit: index or name of the unit.
        scale: maps values to colours, the same as on the page.
        path: of the PNG.
        sides: names of the negative and the positive side.
    """
    blocks = [(title, wrap(*characters(traced))) for title, traced in examples]
    norm = Normalize(scale.threshold - scale.reach, scale.threshold + scale.reach)
    colours = SENTIMENT if scale.sign > 0 else SENTIMENT.reversed()
    rows = sum(len(lines) + 1.9 for _, lines in blocks)
    foot, head = 0.95, 0.45  # inches
    height = rows * _LINE_HEIGHT + foot + head
    left = _MARGIN / WIDTH

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("none")  # cells have a fixed size
        axes = figure.add_axes(
            (left, foot / height, 1 - 2 * left, rows * _LINE_HEIGHT / height)
        )
        axes.set(xlim=(0, COLUMNS), ylim=(rows, 0))
        axes.set_axis_off()
        axes.set_title(f"Unit {unit}, character by character")
        _draw_cells(axes, blocks, colours, norm)
        bar = figure.add_axes((0.3, 0.55 / height, 0.4, 0.11 / height))
        figure.colorbar(
            ScalarMappable(norm, colours), bar, orientation="horizontal", extend="both"
        )
        bar.set_xlabel(
            f"value of unit {unit} (white: its threshold, {scale.threshold:.3g})"
        )
        low, high = list(zip(sides, SIDES, strict=True))[:: scale.sign]
        for x, side, (name, colour) in ((-0.08, "right", low), (1.08, "left", high)):
            style = {"color": colour, "weight": "bold", "size": 9}
            bar.text(
                x, 0.5, name, ha=side, va="center", transform=bar.transAxes, **style
            )

    write_png(path, height, draw, width=WIDTH)


def _draw_cells(
    axes: Axes, blocks: Sequence, colours: Colormap, norm: Normalize
) -> None:
    """Draw each heading with its lines of (character, value), from the top down."""
    glyphs, y = [], 0.0
    for title, lines in blocks:
        axes.text(0, y + 0.95, title, size=9, weight="bold", va="center")
        y += 1.55
        for line in lines:
            shades = np.array([[value for _, value in line]])
            edges = np.arange(len(line) + 1), [y, y + 0.9]
            axes.pcolormesh(*edges, shades, cmap=colours, norm=norm)
            glyphs += [
                _glyph(character).transformed(Affine2D().translate(x, y + 0.66))
                for x, (character, _) in enumerate(line)
                if character != " "
            ]
            y += 1.0
        y += 0.35
    if glyphs:
        outlines = Path.make_compound_path(*glyphs)
        axes.add_patch(PathPatch(outlines, facecolor=INK, linewidth=0))


def wrap(text: str, values: np.ndarray) -> list[list[tuple[str, float]]]:
    """Break a text into lines of (character, value) of at most `COLUMNS`.

    Lines break after white space where possible. A text of more than `LINES` lines is
    cut and ends with an ellipsis.
    """
    cells = [
        (c if has_glyph(c) else MISSING, float(value))
        for c, value in zip(_plain(text), values, strict=True)
    ]
    lines = []
    while cells and len(lines) < LINES:
        width = min(COLUMNS, len(cells))
        if len(cells) > COLUMNS:
            spaces = [i for i in range(COLUMNS) if cells[i][0] == " "]
            width = spaces[-1] + 1 if spaces and spaces[-1] > COLUMNS // 2 else COLUMNS
        lines.append(cells[:width])
        cells = cells[width:]
    if cells:
        kept = lines[-1][: COLUMNS - 1]
        lines[-1] = [*kept, (ELLIPSIS, kept[-1][1])]
    return lines


def has_glyph(character: str) -> bool:
    """Tell whether the bundled monospaced font has a glyph for a character."""
    return get_font(findfont(_monospaced())).get_char_index(ord(character)) != 0


def _plain(text: str) -> str:
    """Replace each white-space character by a blank, so that columns stay aligned."""
    return "".join(" " if c.isspace() else c for c in text)


@cache
def _glyph(character: str) -> Path:
    """Return the outline in a cell of width and height 1, origin at the baseline."""
    outline = TextPath((0, 0), character, size=1.0, prop=_monospaced())
    em = (WIDTH - 2 * _MARGIN) / COLUMNS / _ADVANCE  # inches
    return outline.transformed(Affine2D().scale(1 / _ADVANCE, -em / _LINE_HEIGHT))


def _monospaced() -> FontProperties:
    return FontProperties(family="DejaVu Sans Mono")
