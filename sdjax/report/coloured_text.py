"""Texts whose characters are coloured by the value of a unit, in HTML or a terminal.

The report and `sdjax classify --explain` share this module, so that a text looks the
same in both.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape

from sdjax.features.columns import top_unit_name
from sdjax.features.trace import TracedText, characters
from sdjax.model.classifier import Classifier
from sdjax.portable import checkpoint_shown
from sdjax.report.html import render
from sdjax.report.numbers import typeset
from sdjax.terminal import on_background, printable

# From the negative to the positive side, with white at the unit's threshold. The ends
# are lighter than the class colours, so that text on them stays readable.
STOPS = ("#db7d68", "#f3cfc5", "#ffffff", "#c0dde9", "#5aa3c4")
LEVELS = 16  # shades of each side in HTML; each has its own style class
MAX_CHARACTERS = 700  # characters of one text that the report shows
MISSING = "\u25a1"  # replaces characters that cannot be shown
_JOINERS = "\u200c\u200d"  # they shape neighbouring characters of emoji and scripts
_POINTS = 600  # at most, on a curve
CURVE_SIZE = 600, 64  # width and height of a curve, in SVG units


class Scale(NamedTuple):
    """Maps the values of a unit to colours, symmetrically about its threshold.

    reach: distance from the threshold at which the colour saturates.
    sign: +1 if larger values mean the positive class, else -1.
    """

    threshold: float
    reach: float
    sign: int

    @classmethod
    def of(cls, top_unit: Mapping) -> "Scale":
        """Return the scale of a classifier's top unit, shared by all its texts.

        The colour saturates at the mean distance of the class medians.
        """
        threshold = top_unit["threshold"]
        middles = [quantiles["0.50"] for quantiles in top_unit["quantiles"].values()]
        reach = float(np.mean(np.abs(np.subtract(middles, threshold))))
        return cls(threshold, reach or 1.0, top_unit["sign"])

    def position(self, values: np.ndarray) -> np.ndarray:
        """Map values to -1 (negative) .. 0 (threshold) .. 1 (positive)."""
        distance = (np.asarray(values, float) - self.threshold) / self.reach
        return np.clip(self.sign * distance, -1, 1)


def colours(positions: np.ndarray) -> np.ndarray:
    """Return RGB colours, uint8[N, 3], for positions from -1 to 1."""
    stops = np.array([list(bytes.fromhex(stop[1:])) for stop in STOPS], float)
    places = np.linspace(-1, 1, len(stops))
    mixed = [np.interp(positions, places, stops[:, c]) for c in range(3)]
    return np.rint(np.stack(mixed, axis=-1)).astype(np.uint8)


def palette() -> list[str]:
    """Return the colours of the levels from -LEVELS to LEVELS, as "#rrggbb"."""
    shades = colours(np.arange(-LEVELS, LEVELS + 1) / LEVELS)
    return ["#" + bytes(shade).hex() for shade in shades]


def spans(
    traced: TracedText,
    scale: Scale,
    max_characters: int | None = None,
    marked: np.ndarray | None = None,
) -> Markup:
    """Return HTML with a span for every character: its shade, and its value as title.

    The shade is a style class: `p1` to `p16` on the positive side, `n1` to `n16` on the
    negative side, none at the threshold.

    Args:
        traced: the text.
        scale: of the unit.
        max_characters: a longer text is cut, and a note says how much is missing.
        marked: bool[characters], which of them have the style class `m` as well.
    """
    text, values = characters(traced)
    marks = [False] * len(text) if marked is None else marked.tolist()
    levels = np.rint(scale.position(values) * LEVELS).astype(int)
    levels = levels[:max_characters].tolist()
    parts = []
    for character, value, level, mark in zip(
        text, values.tolist(), levels, marks, strict=False
    ):
        names = ["m"] if mark else []
        names += [f"{'p' if level > 0 else 'n'}{abs(level)}"] if level else []
        shade = f' class="{" ".join(names)}"' if names else ""
        number = typeset(value, "+.2f")
        parts.append(
            f'<span{shade} title="{number}">{escape(_shown(character))}</span>'
        )
    if len(text) > len(parts):
        parts.append(f" \u2026 ({len(text) - len(parts):,} more characters)")
    return Markup("".join(parts))


def _shown(character: str) -> str:
    """Show white space as a blank, and control or direction characters as a box."""
    if character.isspace():
        return " "
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs")
    return MISSING if hidden and character not in _JOINERS else character


def in_terminal(traced: TracedText, scale: Scale, colour: bool = True) -> str:
    """Return the text with coloured backgrounds, in 24-bit ANSI escapes."""
    text, values = characters(traced)
    text = printable(text.removesuffix(" "))
    if not colour:
        return text
    shades = colours(scale.position(values[: len(text)])).tolist()
    cells = zip(text, shades, strict=True)
    return "".join(
        on_background("".join(character for character, _ in run), *shade)
        for shade, run in groupby(cells, key=lambda cell: cell[1])
    )


class Explained(NamedTuple):
    """One text and its prediction.

    traced: the text as the model read it, and the unit's value after each byte.
    verdict: the prediction of the classifier, in words.
    """

    traced: TracedText
    verdict: str


def page(classifier: Classifier, explained: Sequence[Explained]) -> str:
    """Return a self-contained HTML page of coloured texts.

    Args:
        classifier: of two classes, with a top unit.
        explained: the texts, in display order.
    """
    top = classifier.metadata["top_unit"]
    return unit_page(
        top_unit_name(classifier),
        Scale.of(top),
        checkpoint_shown(classifier.metadata) or "unknown",
        tuple(top.get("classes", classifier.classes)),
        explained,
    )


def unit_page(
    unit: int | str,
    scale: Scale,
    checkpoint: object,
    sides: tuple[str, str],
    explained: Sequence[Explained],
) -> str:
    """Return a self-contained HTML page of texts coloured by one unit.

    Args:
        unit: its number.
        scale: of the unit.
        checkpoint: that the unit belongs to, for the reader of the page.
        sides: names of the two sides, the one that the scale calls negative first.
        explained: the texts, in display order.
    """
    return render(
        "explained.html",
        title=f"Unit {unit}, character by character",
        unit=unit,
        checkpoint=checkpoint,
        palette=palette(),
        sides=sides,
        threshold=typeset(scale.threshold, "+.3g"),
        curve_size=CURVE_SIZE,
        texts=[
            {
                "verdict": e.verdict,
                "spans": spans(e.traced, scale),
                "curve": curve(characters(e.traced)[1], scale),
            }
            for e in explained
        ],
    )


def curve(values: np.ndarray, scale: Scale) -> str:
    """Return the SVG points of the unit's value over the text, positive upwards.

    The threshold is in the middle. A text of one character has no curve.
    """
    if len(values) < 2:
        return ""
    width, height = CURVE_SIZE
    chosen = np.unique(np.linspace(0, len(values) - 1, _POINTS).astype(int))
    x = chosen / (len(values) - 1) * width
    distance = scale.sign * (values - scale.threshold)
    # The colours saturate at `reach`; the curve shows larger values too.
    top = max(scale.reach, float(np.abs(distance).max()))
    y = (1 - distance[chosen] / top) / 2 * (height - 4) + 2
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
