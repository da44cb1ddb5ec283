"""One coloured text as a piece of HTML, for a page of somebody else or a notebook."""

from markupsafe import Markup

from sdjax.features.trace import TracedText, characters
from sdjax.report.coloured_text import CURVE_SIZE, Scale, curve, palette, spans
from sdjax.report.html import render


class Html(Markup):
    """HTML that a notebook shows as what it is."""

    def _repr_html_(self) -> str:
        return str(self)


def inline_text(
    traced: TracedText,
    scale: Scale,
    sides: tuple[str, str],
    what: str,
    *,
    line: bool = True,
    one_sided: bool = False,
) -> Html:
    """Return a text coloured as the report colours it, and its values as a line.

    The text is escaped; the colours are those of `coloured_text.spans`.

    Args:
        traced: the text.
        scale: maps its values to colours.
        sides: names of the two sides, the one that the scale calls negative first.
        what: the values are, such as "unit 178", for who cannot see the line.
        line: whether the values are drawn over the text as a line.
        one_sided: no value is on the positive side; sides[1] is the white end.
    """
    return Html(
        render(
            "inline_text.html",
            palette=palette(),
            sides=sides,
            spans=spans(traced, scale),
            curve=curve(characters(traced)[1], scale) if line else "",
            curve_size=CURVE_SIZE,
            what=what,
            one_sided=one_sided,
        )
    )
