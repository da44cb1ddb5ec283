"""The figure of review lengths in a corpus."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter, StrMethodFormatter

from sdjax.data.stats import SplitStats
from sdjax.report.style import ACCENT, GREY, INK, POSITIVE, legend_above, write_png

_COLOURS = {"train": GREY, "valid": ACCENT, "test": POSITIVE}
_BINS_PER_DOUBLING = 3


def draw_lengths(stats: Mapping[str, SplitStats], path: Path) -> None:
    """Draw a histogram of review lengths in bytes, one line per split.

    Args:
        stats: by split.
        path: of the PNG.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        ends = [(s.lengths[0], s.lengths[-1]) for s in stats.values()]
        low = np.log2(min(first for first, _ in ends))
        high = np.log2(max(last for _, last in ends) + 1)
        count = max(2, int(np.ceil((high - low) * _BINS_PER_DOUBLING)))
        edges = np.geomspace(2**low, 2**high, count + 1)
        for split, measured in stats.items():
            height, _ = np.histogram(measured.lengths, edges, weights=measured.counts)
            axes.stairs(
                height / measured.reviews,
                edges,
                color=_COLOURS[split],
                linewidth=1.6,
                label=f"{split} ({measured.reviews:,})",
            )
        median = stats["train"].quantile(0.5)
        axes.axvline(
            median,
            color=INK,
            linestyle=(0, (4, 3)),
            linewidth=1.1,
            label=f"median of train: {median:,}",
        )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_ylim(bottom=0)
        axes.set(
            title="Length of reviews",
            xlabel="bytes (logarithmic)",
            ylabel="share of reviews",
        )
        legend_above(axes, ncols=2)

    write_png(path, 3.6, draw)
