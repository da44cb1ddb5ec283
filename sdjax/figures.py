"""The figures of the report: data in, one PNG out, one look for all."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator, PercentFormatter

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


def unit_weights(weights: np.ndarray, top_unit: int, path: Path) -> None:
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

    write_png(path, 3.6, draw)


def unit_histogram(
    values: np.ndarray, labels: np.ndarray, threshold: float, unit: int, path: Path
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

    write_png(path, 3.6, draw)


def training_curve(
    records: Sequence[Mapping],
    probe_points: Sequence[tuple[int, float]],
    path: Path,
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

    write_png(path, 5.6 if probe_points else 3.4, draw)


def topk_accuracy(
    points: Sequence[tuple[int, Mapping[str, float]]],
    all_units: tuple[int, Mapping[str, float]],
    majority: float,
    path: Path,
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

    write_png(path, 3.6, draw)


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


def write_png(path: Path, height: float, draw: Callable[[Figure], None]) -> None:
    """Draw in our style, without pyplot; write the PNG whole or not at all.

    Args:
        path: of the PNG.
        height: inches; every figure is `WIDTH` wide.
        draw: fills the figure that it is given.
    """
    path = Path(path)
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
