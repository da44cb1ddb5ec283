"""Pieces of texts that show how a unit follows a property, for the page."""

import numpy as np

from sdjax.features.trace import TracedText
from sdjax.inference.units.choice import Amounts
from sdjax.inference.units.properties import YES_NO
from sdjax.inference.units.texts import Block
from sdjax.report.unit_findings import Sample

_LENGTH = 400  # characters of a piece
_SEARCHED = 200_000  # characters among which it is looked for


class Samples:
    """Finds the piece in which a property varies most.

    Of a property that is the same all over a text: the beginnings of two texts, where
    it is largest and where it is least.
    """

    def __init__(self):
        self._searched, self._most, self._varied = 0, 0.0, None
        self._largest = self._least = None

    def look(self, block: Block, values: np.ndarray, states: np.ndarray) -> None:
        """Look at a block, the property's values in it and those of the unit."""
        if self._searched > _SEARCHED:
            return
        self._searched += len(values)
        for text, here in block.spans():
            for start in range(here.start, here.stop, _LENGTH // 2):
                stop = min(start + _LENGTH, here.stop)
                seen = values[start:stop]
                piece = text.text[start - here.start : stop - here.start]
                found = piece, states[start:stop], seen
                varies = float(seen.std()) * len(seen) / _LENGTH
                if varies > self._most:
                    self._most, self._varied = varies, _copied(found)
                if start > here.start:
                    continue
                if self._largest is None or seen[0] > self._largest[2][0]:
                    self._largest = _copied(found)
                if self._least is None or seen[0] < self._least[2][0]:
                    self._least = _copied(found)

    def finish(
        self, kind: str, middle: float, reach: float, known: Amounts
    ) -> list[Sample]:
        """Return the pieces.

        Args:
            kind: of the property.
            middle, reach: of the colours, as for `Sample`.
            known: the property's values.
        """
        pieces = [self._varied] if self._varied else [self._largest, self._least]
        found = []
        for text, states, values in pieces:
            blank = len(text) - len(text.lstrip())
            text, states, values = text[blank:], states[blank:], values[blank:]
            sizes = [len(c.encode("utf-8", "surrogatepass")) for c in text]
            marked = np.zeros(len(text), bool)
            if kind == YES_NO and self._varied:
                marked = values > known.values[0]
            value = float(values[0]) if len(values) and not self._varied else None
            traced = TracedText(text, np.repeat(states, sizes))
            found.append(Sample(traced, marked, middle, reach, value))
        return found


def _copied(found: tuple) -> tuple:
    """Keep a piece without the block that it is a view of."""
    text, states, values = found
    return text, states.copy(), values.copy()
