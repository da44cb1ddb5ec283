"""The page of the gap between training and validation loss."""

import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdjax.data.windows import CARRIES
from sdjax.report.numbers import typeset
from sdjax.report.style import ACCENT, GREY, INK, NEGATIVE, PALE, POSITIVE
from sdjax.study.effects import Effect
from sdjax.study.gap import COPIED, DUPLICATES, SPLITS, Arm
from sdjax.study.gap_findings import FACTORS, PARTS, Findings, find, shown, verdict
from sdjax.study.page import Drawing, Page, Table

_CAPTION = (
    "Above: the mean gap, training loss less validation loss, and the three parts that"
    " add up to it. Middle: what each factor changes in the part that remains with the"
    " final weights. Lines are 95% intervals; one that crosses 0 is no finding. Below:"
    " train less each single shard of valid, with the final weights. Right of 0 valid"
    " lies below train."
)


def page(
    results: Mapping[Arm, Mapping], corpus: str, units: int, characters: int
) -> Page:
    """Return the page of a whole factorial.

    Args:
        results: of every arm, what `losses.measure` gave.
        corpus: names what the runs were trained on.
        units: of the models.
        characters: that each run was to read, about.
    """
    found = find(results)
    about = f"{len(results)} runs of {units:,} units and {characters / 1e6:g} million"
    about += " characters each"
    return Page(
        title="Why does the validation loss lie below the training loss?",
        subtitle=f"{corpus}; {about}; one epoch; {len(SPLITS)} split rules x"
        f" {len(DUPLICATES)} treatments of duplicates x {len(CARRIES)} of the state x"
        " the seeds.",
        verdict=verdict(found, corpus, about),
        figures=[Drawing("gap", 6.8, lambda figure: draw(figure, found), _CAPTION)],
        tables=[_parts(found), _factors(found), _runs(found, results)],
        notes=_notes(found),
        numbers=_numbers(found, results),
    )


def draw(figure: Figure, found: Findings) -> None:
    """Draw the parts, the factors and the single shards below each other."""
    ratios = [len(PARTS), len(FACTORS), len(SPLITS) + 0.5]
    parts, factors, shards = figure.subplots(3, height_ratios=ratios)
    colours = [INK, ACCENT, ACCENT, ACCENT]
    _bars(parts, PARTS, found.parts, colours)
    parts.set_title("Where the gap comes from")
    _bars(factors, FACTORS, found.factors["remaining"], [POSITIVE] * len(FACTORS))
    factors.set_title("What changes what remains")
    _shards(shards, found)
    shards.set_xlabel("bits per character; right of 0 valid lies below train")


def _bars(
    axes: Axes, names: Mapping[str, str], effects: Mapping[str, Effect], colours
) -> None:
    places = range(len(names), 0, -1)
    axes.axvline(0, color=GREY, linewidth=0.8)
    for place, name, colour in zip(places, names, colours, strict=True):
        effect = effects[name]
        if np.isfinite(effect.half):
            ends = effect.value - effect.half, effect.value + effect.half
            axes.plot(ends, (place, place), color=colour, linewidth=2)
        axes.plot(effect.value, place, "o", color=colour, markersize=5)
    axes.set_yticks(list(places), [_wrapped(text) for text in names.values()])
    axes.set_ylim(0.4, len(names) + 0.6)
    axes.tick_params(axis="y", length=0)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 30)


def _shards(axes: Axes, found: Findings) -> None:
    axes.axvline(0, color=GREY, linewidth=0.8)
    for place, split, colour in zip((2, 1), SPLITS, (NEGATIVE, POSITIVE), strict=True):
        values = found.single[split]
        # Spread over the height, in the order of the values, so that none is hidden.
        height = place + 0.5 * (np.arange(len(values)) / max(len(values) - 1, 1) - 0.5)
        style = {"markersize": 3, "alpha": 0.5, "markeredgewidth": 0}
        axes.plot(values, height, "o", color=colour, **style)
        axes.plot([values.mean()] * 2, (place - 0.35, place + 0.35), color=INK)
    axes.set_yticks((2, 1), [f"{split} split" for split in SPLITS])
    axes.set_ylim(0.4, 2.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=PALE, linewidth=0.5)
    axes.set_title("Train less each shard of valid")


def _parts(found: Findings) -> Table:
    whole = found.parts["logged"].value
    rows = [
        (
            text,
            shown(found.parts[name]),
            typeset(found.parts[name].value / whole, ".1%"),
        )
        for name, text in PARTS.items()
    ]
    return Table(
        "Where the gap comes from, in bits per character",
        ("part", "mean and 95% interval", "share of the gap as logged"),
        rows,
    )


def _factors(found: Findings) -> Table:
    whole = found.parts["logged"].value
    remaining, logged = found.factors["remaining"], found.factors["logged"]
    rows = [
        (
            text,
            shown(remaining[name]),
            typeset(remaining[name].value / whole, ".1%"),
            shown(logged[name]),
        )
        for name, text in FACTORS.items()
    ]
    return Table(
        "What each factor changes, in bits per character",
        (
            "factor",
            "with the final weights, 95% interval",
            "share of the gap as logged",
            "in the gap as logged, 95% interval",
        ),
        rows,
    )


def _runs(found: Findings, results: Mapping[Arm, Mapping]) -> Table:
    rows = [
        (
            arm.split,
            arm.duplicates,
            arm.carry,
            str(arm.seed),
            f"{results[arm]['running']:.4f}",
            f"{results[arm]['running'] - gap.averaging:.4f}",
            f"{results[arm]['valid_logged']:.4f}",
            typeset(gap.logged, "+.4f"),
            typeset(gap.remaining, "+.4f"),
        )
        for arm, gap in found.gaps.items()
    ]
    return Table(
        "All runs, in bits per character",
        (
            "split",
            "duplicates",
            "state",
            "seed",
            "train, running",
            "train, final weights",
            "valid, as logged",
            "gap, as logged",
            "gap, final weights",
        ),
        rows,
    )


def _notes(found: Findings) -> list[str]:
    freedom = found.parts["logged"].freedom
    return [
        "A gap is training loss less validation loss: above 0, valid lies below train."
        " As logged: the average over the epoch while the weights changed, against all"
        " of valid with the final weights. With the final weights: as many shards of"
        " train as valid has, against all of valid, both read by the rows of training.",
        "What is held out is drawn once for each seed and split rule, and runs of one"
        " draw share it. So each draw gives one number for every line, and intervals"
        f" (95%, Student's t) come from how these differ: {freedom} degrees of freedom."
        " They are wide because few draws say little of the composition; more --seeds"
        " make them narrower.",
        f"In the arm with copies {COPIED:.0%} of the texts are replaced by copies of"
        " others. With the shuffled split copies of one text share its hash, so they"
        " lie in one shard and never on both sides of the split; with the contiguous"
        " split they may. Copies also change which texts are held out, a little.",
        "Regularisation that is off in evaluation is not among the factors: the model"
        " has none, so it cannot be a cause here.",
        "The less text, the faster the weights still improve at the end, and the more"
        " averaging makes. How much that is in a run of weeks, and what a larger model"
        " remembers of duplicates, these runs cannot say.",
    ]


def _numbers(found: Findings, results: Mapping[Arm, Mapping]) -> dict:
    def as_json(effects: Mapping[str, Effect]) -> dict:
        return {name: _finite(effect) for name, effect in effects.items()}

    return {
        "parts": as_json(found.parts),
        "factors": {part: as_json(each) for part, each in found.factors.items()},
        "spread": {k: None if np.isnan(v) else v for k, v in found.spread.items()},
        "below": dict(found.below),
        "runs": {
            arm.name: {**gap._asdict(), "losses": dict(results[arm])}
            for arm, gap in found.gaps.items()
        },
    }


def _finite(effect: Effect) -> dict:
    half = effect.half if np.isfinite(effect.half) else None
    return {**effect._asdict(), "half": half}
