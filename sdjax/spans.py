"""A text whose characters are coloured by what a unit holds, as HTML."""

import unicodedata

import numpy as np
from markupsafe import Markup, escape

from sdjax.coloured_text import MISSING, TracedText, characters

LEVELS = 10  # shades of each side; the page's style has a class for each
MOST = 700  # characters of one text
_JOINERS = "\u200c\u200d"  # shape their neighbours, in emoji and in many scripts


def reach(texts: list[TracedText], threshold: float) -> float:
    """How far from the threshold the strongest shade stands.

    Not the largest: one text that runs away would leave all the others white.
    """
    values = [characters(text)[1][:MOST] for text in texts]
    known = np.concatenate(values) if values else np.zeros(0)
    if not len(known):
        return 1.0
    return float(np.quantile(np.abs(known - threshold), 0.95)) or 1.0


def coloured(traced: TracedText, threshold: float, sign: int, reach: float) -> Markup:
    """Give every character a span with its shade and, as its title, its value.

    Args:
        traced: the text; what is longer than `MOST` characters is cut, and says so.
        threshold: the value without a shade.
        sign: +1 when larger values mean the positive side (`p1` to `p10`, the other
            is `n1` to `n10`), else -1.
        reach: distance from the threshold at which the shade is strongest.
    """
    text, values = characters(traced)
    parts = []
    for character, value in zip(text[:MOST], values[:MOST].tolist(), strict=True):
        side = sign * (value - threshold) / reach
        level = round(LEVELS * min(1.0, abs(side)))
        shade = f' class="{"p" if side > 0 else "n"}{level}"' if level else ""
        number = f"{value:+.2f}".replace("-", "\u2212")
        parts.append(
            f'<span{shade} title="{number}">{escape(_shown(character))}</span>'
        )
    if len(text) > MOST:
        parts.append(f" \u2026 ({len(text) - MOST:,} more characters)")
    return Markup("".join(parts))


def _shown(character: str) -> str:
    """White space as one blank; what no browser shows, or what turns text, as a box."""
    if character.isspace():
        return " "
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs")
    return MISSING if hidden and character not in _JOINERS else character
