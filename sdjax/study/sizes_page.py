"""The page of the sizes: bits per character and transfer accuracy over size."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from sdjax.report.style import ACCENT, GREY, OCHRE, legend_above
from sdjax.study.page import Drawing, Page, Table
from sdjax.study.published import MODELS, Published
from sdjax.study.sizes import Size

_CAPTION = (
    "Each small dot is a run; the line goes through the mean of each size. Hollow marks"
    " are published models, of another corpus (Amazon reviews), another budget and, for"
    " accuracy, of SST: they say where size has led with 40 GB of text, not where these"
    " runs should lie."
)
_FULL = 40e9  # bytes of text that the published models were trained on, about


class About(NamedTuple):
    """What the runs were.

    corpus, texts: name what was trained on, and the labelled texts.
    characters: as the study was asked for them.
    equal: "characters" or "compute".
    """

    corpus: str
    texts: str
    characters: int
    equal: str


def page(results: Mapping[Size, Mapping], about: About) -> Page:
    """Return the page of all sizes.

    Args:
        results: of every run, `bits` and `probe` (`sizes.take`).
        about: what they were.
    """
    budget = f"{about.characters / 1e6:g} million characters"
    each = {
        "characters": f"{budget} each",
        "compute": f"the compute of {budget} with the smallest size",
    }[about.equal]
    units = sorted({size.units for size in results})
    return Page(
        title="What does size buy?",
        subtitle=f"{about.corpus}, {units[0]:,} to {units[-1]:,} units, {each}; a"
        f" classifier on the features of {about.texts}.",
        verdict=_verdict(results, about, each),
        figures=[Drawing("sizes", 5.6, lambda figure: draw(figure, results), _CAPTION)],
        tables=[_sizes(results), _runs(results), _published()],
        notes=_notes(results, about),
        numbers={"runs": {size.name: dict(r) for size, r in results.items()}},
    )


def means(results: Mapping[Size, Mapping], part: str, key: str) -> dict[int, float]:
    """Return the mean of a number over the seeds of each size, the smallest first."""
    found: dict[int, list[float]] = {}
    for size, result in sorted(results.items()):
        found.setdefault(size.units, []).append(result[part][key])
    return {units: float(np.mean(values)) for units, values in found.items()}


def draw(figure: Figure, results: Mapping[Size, Mapping]) -> None:
    """Draw both measures over size, the published models beside them."""
    bits, accuracy = figure.subplots(2, sharex=True)
    _panel(bits, results, "bits", "test", lambda model: model.bits)
    bits.set(ylabel="bits per character, test")
    _panel(accuracy, results, "probe", "accuracy", lambda model: model.accuracy)
    floor = float(np.mean([r["probe"]["majority"] for r in results.values()]))
    accuracy.axhline(floor, color=GREY, linewidth=0.8, linestyle=(0, (1, 1.5)))
    accuracy.annotate(
        "majority class",
        (1, floor),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="bottom",
        fontsize=8,
        color=GREY,
    )
    accuracy.set(ylabel="accuracy, test", xlabel="units", xscale="log")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ticks = sorted({size.units for size in results} | {m.units for m in MODELS})
    accuracy.set_xticks(ticks, [f"{n:,}" for n in ticks], rotation=45, ha="right")
    accuracy.xaxis.set_minor_locator(NullLocator())
    bits.set_title("Size, with everything else equal")
    legend_above(bits, ncols=2)


def _panel(
    axes: Axes,
    results: Mapping[Size, Mapping],
    part: str,
    key: str,
    published: Callable[[Published], float | None],
) -> None:
    for source, marker in zip(_sources(), ("D", "s"), strict=True):
        points = [
            (model.units, value)
            for model in MODELS
            if model.source == source and (value := published(model)) is not None
        ]
        style = {"markerfacecolor": "none", "markersize": 6, "linewidth": 0.8}
        axes.plot(
            *(zip(*points, strict=True) if points else ((), ())),
            marker=marker,
            color=OCHRE,
            linestyle=(0, (3, 2)),
            label=f"published: {source}",
            **style,
        )
    mean = means(results, part, key)
    axes.plot(list(mean), list(mean.values()), "-", color=ACCENT, label="these runs")
    single = [(size.units, r[part][key]) for size, r in results.items()]
    axes.plot(*zip(*single, strict=True), "o", color=ACCENT, markersize=3.5)


def _sources() -> list[str]:
    return list(dict.fromkeys(model.source for model in MODELS))


def _verdict(results: Mapping[Size, Mapping], about: About, each: str) -> str:
    bits, accuracy = means(results, "bits", "test"), means(results, "probe", "accuracy")
    least, most = min(bits), max(bits)
    best = min(bits, key=bits.get)
    top = max(accuracy, key=accuracy.get)
    text = (
        f"On {about.corpus}, with {each}, bits per character go from {bits[least]:.3f}"
        f" at {least:,} units to {bits[most]:.3f} at {most:,}"
    )
    text += "" if best == most else f", with the lowest, {bits[best]:.3f}, at {best:,}"
    text += (
        f"; the accuracy of the classifier goes from {accuracy[least]:.1%} to"
        f" {accuracy[most]:.1%}"
    )
    text += (
        "" if top == most else f", with the highest, {accuracy[top]:.1%}, at {top:,}"
    )
    spread = _seeds(results)
    if spread is not None:
        text += f"; seeds of one size differ by up to {spread:.1%} in accuracy"
    return text + "."


def _seeds(results: Mapping[Size, Mapping]) -> float | None:
    """Return the largest difference in accuracy of seeds of one size; None of one."""
    found = []
    for units in {size.units for size in results}:
        each = [r["probe"]["accuracy"] for s, r in results.items() if s.units == units]
        found += [max(each) - min(each)] if len(each) > 1 else []
    return max(found, default=None)


def _sizes(results: Mapping[Size, Mapping]) -> Table:
    columns = [
        means(results, part, key)
        for part, key in (
            ("bits", "valid"),
            ("bits", "test"),
            ("probe", "accuracy"),
            ("probe", "top_unit"),
            ("bits", "characters"),
            ("bits", "minutes"),
        )
    ]
    rows = []
    for units in columns[0]:
        valid, test, accuracy, unit, characters, minutes = (c[units] for c in columns)
        seeds = sum(size.units == units for size in results)
        rows.append(
            (
                f"{units:,}",
                f"{seeds}",
                f"{valid:.4f}",
                f"{test:.4f}",
                f"{accuracy:.1%}",
                f"{1 - accuracy:.1%}",
                f"{unit:.1%}",
                f"{characters:,.0f}",
                f"{minutes:.1f}",
            )
        )
    header = (
        "units",
        "seeds",
        "bits, valid",
        "bits, test",
        "accuracy, test",
        "error, test",
        "top unit alone",
        "characters",
        "minutes of training",
    )
    return Table("By size, mean over the seeds", header, rows)


def _runs(results: Mapping[Size, Mapping]) -> Table:
    rows = [
        (
            f"{size.units:,}",
            f"{size.seed}",
            f"{r['bits']['test']:.4f}",
            f"{r['probe']['accuracy']:.1%}",
            f"{r['probe']['top_unit']:.1%}",
            f"{r['probe']['C']:g}",
            f"{r['probe']['nonzero']:,}",
        )
        for size, r in sorted(results.items())
    ]
    header = (
        "units",
        "seed",
        "bits, test",
        "accuracy, test",
        "top unit alone",
        "C",
        "nonzero weights",
    )
    return Table("All runs", header, rows)


def _published() -> Table:
    rows = [
        (
            f"{model.units:,}",
            "-" if model.bits is None else f"{model.bits:.2f}",
            "-" if model.accuracy is None else f"{model.accuracy:.1%}",
            "-" if model.accuracy is None else f"{1 - model.accuracy:.1%}",
            model.source,
        )
        for model in MODELS
    ]
    header = ("units", "bits", "accuracy, SST", "error, SST", "source")
    return Table(
        "Published, of other corpora and budgets (Amazon reviews; SST)", header, rows
    )


def _notes(results: Mapping[Size, Mapping], about: About) -> list[str]:
    read = max(r["bits"]["characters"] for r in results.values())
    texts = next(iter(results.values()))["probe"]["texts"]
    floor = np.mean([r["probe"]["majority"] for r in results.values()])
    error = float(np.sqrt(floor * (1 - floor) / texts))
    return [
        "Bits per character of the last checkpoint on the corpus's own test split."
        " Accuracy: an L1 classifier on the cell state after the last character of each"
        f" labelled text, C chosen on its valid, on {texts:,} test texts; with so many"
        f" an accuracy near chance has a standard error of {error:.1%}.",
        "All sizes have the same learning rate, batch and schedule, which were not"
        " tuned for each. Part of a difference between sizes may be that.",
        "What these runs cannot show: the published models read about 40 GB of Amazon"
        f" reviews, {_FULL / read:,.0f} times what a run here read. The less text, the"
        " further large models are from what they can reach, so that a curve over size"
        " is one of how fast they learn. At which size a sentiment unit appears with"
        " enough text is neither confirmed nor contradicted.",
    ]
