"""A piece of text in which a property varies, for the page."""

import numpy as np

from sdjax.features.trace import TracedText
from sdjax.inference.properties import YES_NO
from sdjax.inference.unit_choice import Amounts
from sdjax.inference.unit_texts import Block
from sdjax.report.unit_findings import Sample

_LENGTH = 400  # characters of a piece
_SEARCHED = 200_000  # characters among which it is looked for


class BestSample:
    """The piece of a held-out text in which a property varies most."""

    def __init__(self):
        self._searched, self._most, self._found = 0, 0.0, None

    def look(self, block: Block, values: np.ndarray, states: np.ndarray) -> None:
        """Look at a block, the property's values in it and those of the unit."""
        if self._searched > _SEARCHED:
            return
        self._searched += len(values)
        for text, here in block.spans():
            begin = here.start
            for start in range(begin, here.stop, _LENGTH // 2):
                stop = min(start + _LENGTH, here.stop)
                varies = float(values[start:stop].std()) * (stop - start) / _LENGTH
                if varies > self._most:
                    piece = text.text[start - begin : stop - begin]
                    seen = piece, states[start:stop].copy(), values[start:stop].copy()
                    self._most, self._found = varies, seen

    def finish(
        self, kind: str, middle: float, reach: float, known: Amounts
    ) -> Sample | None:
        """Return the piece; None where the property varies in none.

        Args:
            kind: of the property.
            middle, reach: of the colours, as for `Sample`.
            known: the property's values.
        """
        if self._found is None:
            return None
        text, states, values = self._found
        blank = len(text) - len(text.lstrip())
        text, states, values = text[blank:], states[blank:], values[blank:]
        sizes = [len(c.encode("utf-8", "surrogatepass")) for c in text]
        marked = values > known.values[0] if kind == YES_NO else np.zeros(0, bool)
        traced = TracedText(text, np.repeat(states, sizes))
        return Sample(traced, marked, middle, reach)
