"""The figures of the report; each is written as a PNG and an SVG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    EngFormatter,
    FixedLocator,
    FuncFormatter,
    NullLocator,
)

from sdjax.report.numbers import typeset
from sdjax.report.style import (
    ACCENT,
    GREY,
    INK,
    NEGATIVE,
    OCHRE,
    PALE,
    PAPER,
    POSITIVE,
    SIDES,
    legend_above,
    write_figure,
)

_CURVES = {"all units": ACCENT, "top unit": POSITIVE, "bag of words": OCHRE}


def unit_weights(
    effects: np.ndarray, top_unit: int, path: Path, name: str = ""
) -> None:
    """Draw the effect of every unit in the classifier and mark the top unit.

    Args:
        effects: float64[H], L1 weight times difference of class means.
        top_unit: index of the unit to mark.
        path: of the PNG.
        name: of that unit, if it is not its index.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        units = np.arange(len(effects))
        shown = (effects != 0) & (units != top_unit)
        axes.axhline(0, color=PALE, linewidth=0.8)
        axes.vlines(units[shown], 0, effects[shown], color=GREY, linewidth=0.9)
        top = effects[top_unit]
        colour = POSITIVE if top > 0 else NEGATIVE
        axes.vlines(top_unit, 0, top, color=colour, linewidth=1.8)
        axes.plot(top_unit, top, "o", color=colour, markersize=6)
        left_half = top_unit < len(effects) / 2
        axes.annotate(
            f"unit {name or top_unit}: {typeset(top, '+.3g')}",
            (top_unit, top),
            xytext=(9 if left_half else -9, 0),
            textcoords="offset points",
            ha="left" if left_half else "right",
            va="center",
            color=colour,
            weight="bold",
        )
        axes.set(
            title="Effect of every unit in the classifier",
            xlabel="unit",
            ylabel="L1 weight \u00d7 difference of class means",
            xlim=(-0.02 * len(effects), 1.02 * len(effects)),
        )
        axes.margins(y=0.12)

    write_figure(path, 3.4, draw)


def unit_histogram(
    values: np.ndarray,
    labels: np.ndarray,
    threshold: float,
    unit: int | str,
    path: Path,
    sides: tuple[str, str] = ("negative", "positive"),
) -> None:
    """Draw a histogram of one unit's values for each side, with its threshold.

    Args:
        values: float32[N], the unit's value for each text.
        labels: {0, 1}[N].
        threshold: of the unit's own logistic regression.
        unit: its index or name.
        path: of the PNG.
        sides: names of labels 0 and 1.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        count = int(np.clip(len(values) / 20, 12, 60))
        bins = np.histogram_bin_edges(values, bins=count)
        for label, (name, colour) in enumerate(zip(sides, SIDES, strict=True)):
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
            xlabel=f"value of unit {unit}",
            ylabel="texts",
        )
        legend_above(axes)

    write_figure(path, 3.6, draw)


def training_curve(
    records: Sequence[Mapping],
    probe_points: Sequence[tuple[int, float]],
    path: Path,
    *,
    majority: float | None = None,
) -> None:
    """Draw bits per character over training and, below it, probe accuracy.

    Args:
        records: lines of `metrics.jsonl`: `step`, `chars`, `train_bpc` and, in some
            lines, `valid_bpc`.
        probe_points: (step, test accuracy) of saved checkpoints; may be empty.
        path: of the PNG.
        majority: accuracy of the majority class, drawn as a baseline.
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
            _percent(below)
            below.margins(y=0.12)
            below.set(
                title="Probe accuracy of saved checkpoints", ylabel="test accuracy"
            )
        panels[-1].set_xlabel("characters seen")
        panels[-1].xaxis.set_major_formatter(EngFormatter(sep=""))
        panels[-1].set_xlim(left=0)

    write_figure(path, 5.4 if probe_points else 3.4, draw)


def topk_accuracy(
    points: Sequence[tuple[int, Mapping[str, float]]],
    dropped: Sequence[tuple[int, Mapping[str, float]]],
    all_units: tuple[int, Mapping[str, float]],
    majority: float,
    path: Path,
) -> None:
    """Draw accuracy over the number of top units that are used, or removed.

    Args:
        points: (k, accuracy by split) with only the k top units, ascending.
        dropped: (k, accuracy by split) without the k top units, ascending; may be
            empty.
        all_units: (number of units, accuracy by split), drawn as hollow points.
        majority: test accuracy of the majority class, drawn as a baseline.
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
        end = 2 * ks[-1]  # "all" gets the next tick instead of its true position
        for split, style in styles.items():
            accuracy = [value[split] for _, value in points]
            axes.plot(ks, accuracy, marker="o", markersize=4, label=split, **style)
            hollow = {"markersize": 6, "mfc": PAPER, "mew": 1.6, **style}
            axes.plot(end, all_units[1][split], "o", **hollow)
        if dropped:
            axes.plot(
                [k for k, _ in dropped],
                [value["test"] for _, value in dropped],
                color=NEGATIVE,
                marker="s",
                markersize=3.5,
                linestyle=(0, (3, 2)),
                label="test, all but these k",
            )
        _floor(axes, majority)
        ticks = [*(k for k in ks if k < 0.7 * ks[-1]), ks[-1]]
        _log_axis(axes, [*ticks, end], [*map(str, ticks), f"all\n{all_units[0]:,}"])
        _percent(axes)
        axes.margins(y=0.1)
        axes.set(
            title="Accuracy with only the k top units, and without them",
            xlabel="top units used, or removed (k)",
            ylabel="accuracy",
        )
        legend_above(axes)

    write_figure(path, 3.8, draw)


def data_efficiency(
    curves: Mapping[str, Sequence[tuple[int, Sequence[float]]]],
    majority: float,
    path: Path,
) -> None:
    """Draw test accuracy over the number of labelled texts, with the range of draws.

    Args:
        curves: by name: (number of texts, accuracy of each draw), ascending.
        majority: test accuracy of the majority class, drawn as a baseline.
        path: of the PNG.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, points in curves.items():
            colour = _CURVES.get(name, INK)
            sizes = [size for size, _ in points]
            values = [accuracy for _, accuracy in points]
            low, high = [min(v) for v in values], [max(v) for v in values]
            axes.fill_between(sizes, low, high, color=colour, alpha=0.18, linewidth=0)
            mean = [float(np.mean(v)) for v in values]
            style = {"color": colour, "marker": "o", "markersize": 4, "linewidth": 1.8}
            axes.plot(sizes, mean, label=name, **style)
        _floor(axes, majority)
        _log_axis(axes, sizes, _spaced(sizes))
        _percent(axes)
        axes.margins(y=0.1)
        axes.set(
            title="Accuracy by the number of labelled texts",
            xlabel="labelled texts that the classifier is fitted on",
            ylabel="test accuracy",
        )
        legend_above(axes)

    write_figure(path, 3.8, draw)


def _bits_limits(records: Sequence[Mapping]) -> tuple[float, float]:
    """Cut off the steep start of the curve, which would flatten the rest."""
    known = [
        record[key]
        for record in records
        for key in ("train_bpc", "valid_bpc")
        if record.get(key) is not None and np.isfinite(record[key])
    ]
    low, high = min(known), float(np.quantile(known, 0.97))
    return low - 0.08 * (high - low) - 0.02, high + 0.08 * (high - low) + 0.02


def _log_axis(axes: Axes, ticks: Sequence[float], labels: Sequence[str]) -> None:
    """Make the x axis logarithmic, with these ticks only."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels(labels)


def _percent(axes: Axes) -> None:
    """Label the y axis in percent, with decimals only where a tick needs them."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.4g}%"))


def _spaced(sizes: Sequence[int]) -> list[str]:
    """Return tick labels of sizes; if the last two would overlap, only the last."""
    near = len(sizes) > 1 and sizes[-1] < 1.7 * sizes[-2]
    return ["" if near and size == sizes[-2] else _short(size) for size in sizes]


def _short(size: int) -> str:
    return f"{size / 1000:g}k" if size >= 10_000 and size % 100 == 0 else f"{size:,}"


def _floor(axes: Axes, majority: float) -> None:
    """Draw the accuracy of the majority class."""
    axes.axhline(majority, color=GREY, linestyle=(0, (4, 3)), linewidth=1.1)
    axes.annotate(
        f"majority class {majority:.1%}",
        (1, majority),
        xycoords=axes.get_yaxis_transform(),
        xytext=(-2, -3),
        textcoords="offset points",
        ha="right",
        va="top",
        size=9,
        color=GREY,
    )
