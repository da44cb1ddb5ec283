"""Texts coloured character by character by the sentiment unit: terminal and HTML."""

import html
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from sdjax.features.trace import STOPS, Scale, TracedText, characters, colours
from sdjax.model.classifier import Classifier
from sdjax.terminal import on_background, printable

_LEVELS = 16  # colours on each side of white
_POINTS = 600  # of a curve at most
_CURVE = 600, 64  # its width and height, in its own units


class Explained(NamedTuple):
    """One text and what was found in it.

    traced: the text as the model read it, and the unit's value after each byte.
    verdict: what the classifier says, in words.
    """

    traced: TracedText
    verdict: str


def in_terminal(traced: TracedText, scale: Scale, colour: bool = True) -> str:
    """Return the text with each character on the unit's colour, in 24-bit ANSI."""
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


def page(classifier: Classifier, explained: Sequence[Explained]) -> str:
    """Return a self-contained HTML page.

    Args:
        classifier: of two classes, with a top unit.
        explained: the texts, in the order in which to show them.
    """
    top = classifier.metadata["top_unit"]
    unit, scale = top["index"], Scale.of(top)
    negative, positive = map(html.escape, top.get("classes", classifier.classes))
    return _PAGE.format(
        title=f"Unit {unit}, character by character",
        checkpoint=html.escape(str(classifier.metadata.get("checkpoint", "unknown"))),
        rules="\n".join(f".{name}{{background:{c}}}" for name, c in _palette()),
        gradient=",".join(STOPS),
        negative=negative,
        positive=positive,
        threshold=f"{scale.threshold:+.3g}",
        articles="\n".join(_article(e, unit, scale) for e in explained),
    )


def _palette() -> list[tuple[str, str]]:
    """CSS classes and their colours, from the negative end to the positive one."""
    levels = np.arange(-_LEVELS, _LEVELS + 1)
    shades = colours(levels / _LEVELS)
    return [
        (_name(level), "#" + bytes(shade).hex())
        for level, shade in zip(levels.tolist(), shades, strict=True)
    ]


def _name(level: int) -> str:
    return f"{'n' if level < 0 else 'p'}{abs(level)}"


def _article(explained: Explained, unit: int, scale: Scale) -> str:
    text, values = characters(explained.traced)
    text = printable(text.removesuffix(" "))
    values = values[: len(text)]
    levels = np.rint(scale.position(values) * _LEVELS).astype(int).tolist()
    spans, start = [], 0
    for level, run in groupby(levels):
        end = start + len(list(run))
        value = f"{values[end - 1]:+.2f}"
        spans.append(
            f'<span class="{_name(level)}" title="{value}">'
            f"{html.escape(text[start:end])}</span>"
        )
        start = end
    return (
        f"<article><h2>{html.escape(explained.verdict)}</h2>"
        f'<p class="text">{"".join(spans)}</p>{_curve(values, unit, scale)}</article>'
    )


def _curve(values: np.ndarray, unit: int, scale: Scale) -> str:
    """Draw the unit's value over the text, positive upwards, its threshold dashed."""
    if len(values) < 2:
        return ""
    width, height = _CURVE
    chosen = np.unique(np.linspace(0, len(values) - 1, _POINTS).astype(int))
    x = chosen / (len(values) - 1) * width
    distance = scale.sign * (values - scale.threshold)
    # Beyond the colours' reach the curve still shows how far the unit goes.
    top = max(scale.reach, float(np.abs(distance).max()))
    y = (1 - distance[chosen] / top) / 2 * (height - 4) + 2
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return (
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img"'
        f' aria-label="unit {unit} over the text">'
        f'<line x1="0" x2="{width}" y1="{height / 2}" y2="{height / 2}"/>'
        f'<polyline points="{points}"/></svg>'
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root{{color-scheme:light}}
body{{margin:0 auto;max-width:56rem;padding:1.5rem 1rem 3rem;color:#222;
background:#fff;font:16px/1.5 system-ui,sans-serif}}
h1{{font-size:1.5rem;margin:0 0 .75rem}}
.about{{margin:0 0 .75rem;color:#666;font-size:.875rem;overflow-wrap:anywhere}}
.key{{position:sticky;top:0;background:#fff;padding:.5rem 0;
border-bottom:1px solid #ddd;font-size:.875rem}}
.scale{{display:flex;align-items:center;gap:.75rem}}
.bar{{flex:1;height:.75rem;border-radius:2px;
background:linear-gradient(90deg,{gradient})}}
.key p{{margin:.25rem 0 0;color:#666;text-align:center}}
article{{padding:1rem 0;border-bottom:1px solid #eee}}
h2{{font-size:1rem;margin:0 0 .5rem}}
.text{{margin:0;font:15px/1.7 ui-monospace,"DejaVu Sans Mono",Menlo,monospace;
white-space:pre-wrap;overflow-wrap:anywhere}}
.text span{{padding:.15em 0}}
svg{{display:block;width:100%;height:4rem;margin-top:.75rem}}
svg line{{stroke:#bbb;stroke-dasharray:4 4;vector-effect:non-scaling-stroke}}
svg polyline{{fill:none;stroke:#333;stroke-width:1.5;
vector-effect:non-scaling-stroke;stroke-linejoin:round}}
{rules}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="about">Each character has the colour of what the unit holds after reading
it. Checkpoint: {checkpoint}</p>
<div class="key">
<div class="scale"><b>{negative}</b><div class="bar"></div><b>{positive}</b></div>
<p>white: the unit's threshold, {threshold}</p>
</div>
{articles}
</body>
</html>
"""
