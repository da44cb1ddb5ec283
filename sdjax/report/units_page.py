"""One page of what a model's units follow: first properties, then the units."""

import math

import numpy as np

from sdjax.features.columns import unit_label
from sdjax.report.coloured_text import Scale, palette, spans
from sdjax.report.html import render
from sdjax.report.numbers import typeset
from sdjax.report.unit_findings import (
    Candidate,
    Change,
    Context,
    Findings,
    PropertyFinding,
    UnitProfile,
)

AREA, RANK = "AUC", "rank correlation"
_WIDTH, _HEIGHT = 600, 80  # of a small figure, in SVG units


def page(found: Findings) -> str:
    """Return the page, HTML that loads no other file."""
    best: dict[int, list[str]] = {}
    for one in found.properties:
        best.setdefault(one.best.unit, []).append(one.name)
    return render(
        "units.html",
        title="What the units follow",
        palette=palette(),
        found=found,
        properties=[_property(one, found) for one in found.properties],
        units=[_unit(one, found, best.get(one.unit, [])) for one in found.profiles],
        figure_size=(_WIDTH, _HEIGHT),
    )


def table(found: Findings) -> list[str]:
    """Return the table of properties as lines of a terminal."""
    rows = [("property", "unit", "score", "by chance", "next best", "")]
    for one in found.properties:
        shown = _property(one, found)
        runner = shown["runner_up"]
        rows.append(
            (
                one.name,
                f"{shown['best']['label']} {'+' if one.best.rises else '-'}",
                f"{shown['best']['score']} {shown['measure']}",
                shown["chance"],
                f"{runner['label']} {runner['score']}" if runner else "",
                "" if one.above_chance else "no better than chance",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    padded = (
        [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        for row in rows
    )
    return ["  ".join(cells).rstrip() for cells in padded]


def label(unit: int, found: Findings) -> str:
    """Name a unit: "178", or "1:178" of a stack."""
    return unit_label(unit, found.units, found.num_layers)


def _property(one: PropertyFinding, found: Findings) -> dict:
    return {
        "name": one.name,
        "what": one.what,
        "measure": AREA if one.yes_no else RANK,
        "mean": _mean(one),
        "best": _candidate(one.best, found),
        "runner_up": one.runner_up and _candidate(one.runner_up, found),
        "chance": f"{one.chance.max():.3f}",
        "chance_middle": f"{np.median(one.chance):.3f}",
        "above_chance": one.above_chance,
        "samples": _samples(one),
    }


def _mean(one: PropertyFinding) -> str:
    if one.yes_no:
        return f"{one.mean:.2%} of characters"
    return f"{one.mean:,.{0 if one.mean >= 100 else 1}f} on average"


def _candidate(one: Candidate, found: Findings) -> dict:
    return {
        "unit": one.unit,
        "label": label(one.unit, found),
        "rises": one.rises,
        "score": typeset(one.score, ".3f"),
        # Rounded up: it is a bound.
        "error": f"{math.ceil(one.error * 1e4) / 1e4:.4f}" if one.error else "",
    }


def _samples(one: PropertyFinding) -> list[dict]:
    sign = 1 if one.best.rises else -1
    found = []
    for sample in one.samples:
        scale = Scale(sample.middle, sample.reach, sign)
        value = "" if sample.value is None else f"{sample.value:g}"
        text = spans(sample.text, scale, marked=sample.marked)
        found.append({"value": value, "text": text})
    return found


def _unit(one: UnitProfile, found: Findings, best_for: list[str]) -> dict:
    shares = one.counts / max(one.counts.max(), 1)
    return {
        "unit": one.unit,
        "label": label(one.unit, found),
        "best_for": best_for,
        "mean": typeset(one.mean, "+.3g"),
        "deviation": f"{one.deviation:.3g}",
        "time": _time(one),
        "bars": [round(float(share), 4) for share in shares],
        "ends": [typeset(float(one.edges[i]), "+.3g") for i in (0, -1)],
        "correlation": _curve(one.correlation),
        "lags": len(one.correlation) - 1,
        "follows": [(name, typeset(score, "+.2f")) for name, score in one.follows],
        "rising": _changes(one.characters[0]),
        "falling": _changes(one.characters[1]),
        "rising_words": _changes(one.words[0]),
        "falling_words": _changes(one.words[1]),
        "highest": _contexts(one.highest),
        "lowest": _contexts(one.lowest),
    }


def _time(one: UnitProfile) -> str:
    if one.time is not None:
        return f"{one.time:.3g} characters"
    if not one.deviation:
        return "none: it never changes"
    return f"over {len(one.correlation) - 1} characters"


def _curve(correlation: np.ndarray) -> str:
    """Return the points of a line: from 1 at the top to -1 at the bottom."""
    if len(correlation) < 2:
        return ""
    x = np.linspace(0, _WIDTH, len(correlation))
    y = (1 - np.clip(correlation, -1, 1)) / 2 * _HEIGHT
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _changes(changes: list[Change]) -> list[tuple[str, str, int]]:
    return [
        (_visible(change.read), typeset(change.mean, "+.3f"), change.count)
        for change in changes
    ]


def _contexts(contexts: list[Context]) -> list[dict]:
    return [
        {
            "value": typeset(one.value, "+.2f"),
            "before": one.before,
            "character": _visible(one.character),
            "after": one.after,
        }
        for one in contexts
    ]


def _visible(read: str) -> str:
    """Show a character that is white space by the sign for it."""
    return {" ": "\u2423", "\n": "\u21b5", "\t": "\u21e5"}.get(read, read)
