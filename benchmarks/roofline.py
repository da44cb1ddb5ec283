"""The figure: FLOP/s that each variant reaches, under the machine's roofline."""

from pathlib import Path

import numpy as np
from matplotlib.ticker import EngFormatter, NullLocator

from benchmarks.train import Row
from sdjax.report.style import GREY, INK, write_png

_COLOURS = ("#3d6f4e", "#2b7a9e", "#c8553d", "#8a6d3b", "#6b4e8a")
_MARKERS = {"sdjax": "o", "plain scan, autodiff": "v", "PyTorch mLSTM loop": "s"}
_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


def draw(rows: list[Row], bandwidth: float, device: str, path: Path) -> None:
    """Draw achieved FLOP/s over the batch, one colour a size, with the roofline.

    The slanted part of the roof is the rate at which the recurrent weights can be
    streamed from memory if every time step reads them once (2 B FLOPs per weight); the
    flat part is the rate of the largest product measured.

    Args:
        rows: from `benchmarks.train.measure`, one precision.
        bandwidth: bytes per second of memory.
        device: what it ran on, for the title.
        path: of the PNG.
    """
    peak = max(r.flops_per_second for r in rows if r.variant.startswith("product"))
    precision = rows[0].precision
    batches = sorted({r.batch_size for r in rows})
    sizes = sorted({r.hidden_size for r in rows})

    def fill(figure):
        axes = figure.subplots()
        b = np.geomspace(max(1, batches[0] / 4), batches[-1] * 4, 200)
        roof = np.minimum(peak, 2 * b * bandwidth / _BYTES[precision])
        axes.plot(b, roof, color=INK, linewidth=1.4)
        axes.annotate(
            "product of 4096 x 4096 matrices",
            (b[-1], peak),
            xytext=(0, 5),
            textcoords="offset points",
            ha="right",
            size=9,
            color=GREY,
        )
        for size, colour in zip(sizes, _COLOURS * len(sizes), strict=False):
            for variant, marker in _MARKERS.items():
                points = sorted(
                    (r.batch_size, r.flops_per_second)
                    for r in rows
                    if (r.hidden_size, r.variant) == (size, variant)
                )
                axes.plot(
                    *zip(*points, strict=True) if points else ([], []),
                    color=colour,
                    marker=marker,
                    markersize=6,
                    linewidth=1.2 if variant == "sdjax" else 0.7,
                    alpha=1 if variant == "sdjax" else 0.55,
                    label=f"{variant}, {size:,} units" if points else None,
                )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(batches, [f"{batch}" for batch in batches])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(EngFormatter("FLOP/s"))
        axes.yaxis.set_minor_formatter(EngFormatter("FLOP/s"))
        axes.set_xlim(b[0], b[-1])
        axes.set_xlabel("rows of the batch on the device")
        axes.set_title(f"Achieved against the roofline: {device}, {precision}")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    write_png(path, 4.2, fill)
