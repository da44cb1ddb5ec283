"""Every figure of the report: data in, one PNG out, one look for all."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path as FilePath
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator, PercentFormatter
from matplotlib.transforms import Affine2D

DPI = 150
WIDTH = 8.0  # inches
CLASSES = {"negative": "#c8553d", "positive": "#2b7a9e"}
INK, GREY, PALE, ACCENT = "#2b2b2b", "#8a8a8a", "#c9cdd1", "#3d6f4e"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelsize": 10,
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
}
# Ends lighter than the class colours: text stays readable on them.
SENTIMENT = LinearSegmentedColormap.from_list(
    "sentiment", ["#db7d68", "#f3cfc5", "#ffffff", "#c0dde9", "#5aa3c4"]
)
COLUMNS = 92  # characters in a line of coloured text
LINES = 5  # of one text; what is longer is cut
_MARGIN, _LINE_HEIGHT = 0.12, 0.205  # inches, of the coloured texts
_ADVANCE = 0.602  # em, the width of every character of DejaVu Sans Mono
ELLIPSIS, MISSING = "\u2026", "\u25a1"


class TracedText(NamedTuple):
    """A text and what one unit held after each of its bytes.

    Args:
        text: the text as the model read it.
        values: float32[bytes of `text` in UTF-8].
        label: 0 or 1, as given; None when the text has none.
    """

    text: str
    values: np.ndarray
    label: float | None = None


def unit_weights(weights: np.ndarray, top_unit: int, path: FilePath) -> None:
    """Draw the L1 weight of every unit, the top one marked.

    Args:
        weights: float64[H].
        top_unit: index of the unit to mark.
        path: of the PNG.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        units = np.arange(len(weights))
        shown = (weights != 0) & (units != top_unit)
        axes.axhline(0, color=PALE, linewidth=0.8)
        axes.vlines(units[shown], 0, weights[shown], color=GREY, linewidth=0.9)
        top = weights[top_unit]
        colour = CLASSES["positive" if top > 0 else "negative"]
        axes.vlines(top_unit, 0, top, color=colour, linewidth=1.8)
        axes.plot(top_unit, top, "o", color=colour, markersize=6)
        left_half = top_unit < len(weights) / 2
        axes.annotate(
            f"unit {top_unit}: {top:+.3g}".replace("-", "\u2212"),
            (top_unit, top),
            xytext=(9 if left_half else -9, 0),
            textcoords="offset points",
            ha="left" if left_half else "right",
            va="center",
            color=colour,
            weight="bold",
        )
        axes.set(
            title="Weight of every unit in the sentiment classifier",
            xlabel="unit",
            ylabel="L1 weight",
            xlim=(-0.02 * len(weights), 1.02 * len(weights)),
        )
        axes.margins(y=0.12)

    _write(path, 3.6, draw)


def unit_histogram(
    values: np.ndarray, labels: np.ndarray, threshold: float, unit: int, path: FilePath
) -> None:
    """Draw how one unit's values are distributed in each class, and its threshold.

    Args:
        values: float32[N], the unit's value for each text.
        labels: {0, 1}[N].
        threshold: of the unit's own logistic regression.
        unit: its index.
        path: of the PNG.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        count = int(np.clip(len(values) / 20, 12, 60))
        bins = np.histogram_bin_edges(values, bins=count)
        for label, (name, colour) in enumerate(CLASSES.items()):
            chosen = values[labels == label]
            style = {"bins": bins, "color": colour}
            axes.hist(chosen, alpha=0.45, label=f"{name} ({len(chosen):,})", **style)
            axes.hist(chosen, histtype="step", linewidth=1.3, **style)
        axes.axvline(
            threshold,
            color=INK,
            linestyle=(0, (4, 3)),
            linewidth=1.2,
            label=f"threshold {threshold:.3g}",
        )
        axes.set(
            title=f"Unit {unit} at the end of each text",
            xlabel=f"value of unit {unit} (cell state)",
            ylabel="texts",
        )
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    _write(path, 3.6, draw)


def training_curve(
    records: Sequence[Mapping],
    probe_points: Sequence[tuple[int, float]],
    path: FilePath,
    *,
    majority: float | None = None,
) -> None:
    """Draw bits per character, and probe accuracy below it, over training.

    Args:
        records: lines of `metrics.jsonl`: `step`, `chars`, `train_bpc` and, where it
            was measured, `valid_bpc`.
        probe_points: (step, test accuracy) of saved checkpoints; may be empty.
        path: of the PNG.
        majority: accuracy of naming the larger class, drawn as the floor.
    """
    records = sorted(records, key=lambda record: record["chars"])
    steps = [0, *(record["step"] for record in records)]
    chars = [0, *(record["chars"] for record in records)]

    def draw(figure: Figure) -> None:
        count = 2 if probe_points else 1
        panels = figure.subplots(count, sharex=True, squeeze=False)[:, 0]
        top = panels[0]
        for key, style in (
            ("train_bpc", {"color": PALE, "linewidth": 1.2, "label": "train"}),
            (
                "valid_bpc",
                {"color": INK, "marker": "o", "markersize": 3.5, "label": "valid"},
            ),
        ):
            known = [(r["chars"], r[key]) for r in records if r.get(key) is not None]
            if known:
                top.plot(*zip(*known, strict=True), **style)
        top.set_ylim(*_bits_limits(records))
        top.set(title="Bits per character while training", ylabel="bits per character")
        top.legend(loc="upper right")
        if probe_points:
            below = panels[1]
            at = sorted((np.interp(step, steps, chars), y) for step, y in probe_points)
            below.plot(*zip(*at, strict=True), color=ACCENT, marker="o", markersize=4)
            if majority is not None:
                _floor(below, majority)
            below.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            below.margins(y=0.12)
            below.set(
                title="Probe accuracy of saved checkpoints", ylabel="test accuracy"
            )
        panels[-1].set_xlabel("characters seen")
        panels[-1].xaxis.set_major_formatter(EngFormatter(sep=""))
        panels[-1].set_xlim(left=0)

    _write(path, 5.6 if probe_points else 3.4, draw)


def topk_accuracy(
    points: Sequence[tuple[int, Mapping[str, float]]],
    all_units: tuple[int, Mapping[str, float]],
    majority: float,
    path: FilePath,
) -> None:
    """Draw accuracy over the number of top units that a classifier may use.

    Args:
        points: (k, accuracy by split), ascending.
        all_units: (number of units, accuracy by split), the last, hollow points.
        majority: accuracy of naming the larger class of test, drawn as the floor.
        path: of the PNG.
    """
    styles = {
        "train": {"color": PALE},
        "valid": {"color": GREY},
        "test": {"color": ACCENT, "linewidth": 2.0},
    }

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        ks = [k for k, _ in points]
        end = 2 * ks[-1]  # a place of its own, wherever `all` would be
        for split, style in styles.items():
            accuracy = [value[split] for _, value in points]
            axes.plot(ks, accuracy, marker="o", markersize=4, label=split, **style)
            axes.plot(
                end,
                all_units[1][split],
                "o",
                markersize=6,
                mfc="white",
                mew=1.6,
                **style,
            )
        _floor(axes, majority)
        axes.set_xscale("log", base=2)
        ticks = [*(k for k in ks if k < 0.7 * ks[-1]), ks[-1]]
        axes.xaxis.set_major_locator(FixedLocator([*ticks, end]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([*map(str, ticks), f"all\n{all_units[0]:,}"])
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.margins(y=0.1)
        axes.set(
            title="Accuracy of the k strongest units",
            xlabel="units used (k)",
            ylabel="accuracy",
        )
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    _write(path, 3.6, draw)


def coloured_texts(
    examples: Sequence[tuple[str, TracedText]],
    unit: int,
    threshold: float,
    sign: int,
    path: FilePath,
) -> None:
    """Draw texts with the background of each character coloured by the unit's value.

    White is the unit's threshold: blue is where the unit alone would say positive, red
    where it would say negative. A character of several bytes takes its last value.

    Args:
        examples: (heading, traced text), in the order in which to draw them.
        unit: index of the unit.
        threshold: of its own logistic regression; the scale is symmetric about it.
        sign: +1 when larger values mean positive, else -1.
        path: of the PNG.
    """
    blocks = [(title, wrap(*characters(traced))) for title, traced in examples]
    shown = [v for _, lines in blocks for line in lines for _, v in line]
    # Not the largest: one text that runs away would leave all the others white.
    reach = np.quantile(np.abs(np.subtract(shown, threshold)), 0.95) if shown else 0
    norm = Normalize(threshold - (reach or 1.0), threshold + (reach or 1.0))
    colours = SENTIMENT if sign > 0 else SENTIMENT.reversed()
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
        scale = ScalarMappable(norm, colours)
        figure.colorbar(scale, bar, orientation="horizontal", extend="both")
        bar.set_xlabel(f"value of unit {unit} (white: its threshold, {threshold:.3g})")
        ends = ("negative", "positive")[::sign]
        for x, side, name in ((-0.08, "right", ends[0]), (1.08, "left", ends[1])):
            style = {"color": CLASSES[name], "weight": "bold", "size": 9}
            bar.text(
                x, 0.5, name, ha=side, va="center", transform=bar.transAxes, **style
            )

    _write(path, height, draw)


def _draw_cells(
    axes: Axes, blocks: Sequence, colours: Colormap, norm: Normalize
) -> None:
    """Draw headings, and lines of (character, value) below each, from the top."""
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


def characters(traced: TracedText) -> tuple[str, np.ndarray]:
    """Give each character of a text one value: the one at its last byte.

    Args:
        traced: a text of C characters and one value per byte.

    Returns:
        The text without the white space that frames its start, and float[characters].
    """
    sizes = [len(c.encode("utf-8", "surrogatepass")) for c in traced.text]
    if sum(sizes) != len(traced.values):
        raise ValueError(f"{len(traced.values)} values for {sum(sizes)} bytes of text")
    start = len(traced.text) - len(traced.text.lstrip())
    last = np.cumsum(sizes, dtype=int) - 1
    return traced.text[start:], np.asarray(traced.values, float)[last[start:]]


def wrap(text: str, values: np.ndarray) -> list[list[tuple[str, float]]]:
    """Break a text into lines of (character, value) that a figure has room for.

    Lines break after white space where they can. A text of more than `LINES` lines is
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
    """Whether the bundled monospaced font can draw a character."""
    return get_font(findfont(_monospaced())).get_char_index(ord(character)) != 0


def _plain(text: str) -> str:
    """Every white space as one blank: a line is one row of cells."""
    return "".join(" " if c.isspace() else c for c in text)


@cache
def _glyph(character: str) -> Path:
    """Outline in a cell of width 1 and height 1, from the base line downwards."""
    outline = TextPath((0, 0), character, size=1.0, prop=_monospaced())
    em = (WIDTH - 2 * _MARGIN) / COLUMNS / _ADVANCE  # inches
    return outline.transformed(Affine2D().scale(1 / _ADVANCE, -em / _LINE_HEIGHT))


def _monospaced() -> FontProperties:
    return FontProperties(family="DejaVu Sans Mono")


def _bits_limits(records: Sequence[Mapping]) -> tuple[float, float]:
    """Leave out the steep first moments, which would flatten all the rest."""
    known = [
        record[key]
        for record in records
        for key in ("train_bpc", "valid_bpc")
        if record.get(key) is not None and np.isfinite(record[key])
    ]
    low, high = min(known), float(np.quantile(known, 0.97))
    return low - 0.08 * (high - low) - 0.02, high + 0.08 * (high - low) + 0.02


def _floor(axes: Axes, majority: float) -> None:
    """The accuracy that needs no model."""
    axes.axhline(majority, color=GREY, linestyle=(0, (4, 3)), linewidth=1.1)
    axes.annotate(
        f"majority class {majority:.1%}",
        (1, majority),
        xycoords=axes.get_yaxis_transform(),
        xytext=(-2, 4),
        textcoords="offset points",
        ha="right",
        va="bottom",
        size=9,
        color=GREY,
    )


def _write(path: FilePath, height: float, draw: Callable[[Figure], None]) -> None:
    """Draw in our style, without pyplot; write the PNG whole or not at all."""
    path = FilePath(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1, hspace=0.05)
        FigureCanvasAgg(figure)
        draw(figure)
        try:
            figure.savefig(temporary, format="png", dpi=DPI)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
