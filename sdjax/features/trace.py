"""A text with what one unit held after each of its bytes, and the colours for it."""

from typing import NamedTuple

import numpy as np

# From the negative side to the positive one, white at the unit's threshold. The ends
# are lighter than the class colours: text stays readable on them.
STOPS = ("#db7d68", "#f3cfc5", "#ffffff", "#c0dde9", "#5aa3c4")


class TracedText(NamedTuple):
    """A text and what one unit held after each of its bytes.

    Args:
        text: the text as the model read it.
        values: float32[bytes of `text` in UTF-8].
        label: its name, as given; None when the text has none.
    """

    text: str
    values: np.ndarray
    label: str | None = None


def characters(traced: TracedText) -> tuple[str, np.ndarray]:
    """Give each character of a text one value: the one at its last byte.

    Args:
        traced: a text of C characters and one value per byte.

    Returns:
        The text without the white space that frames its start, and float[characters].
    """
    sizes = [len(c.encode("utf-8", "surrogatepass")) for c in traced.text]
    if sum(sizes) != len(traced.values):
        raise ValueError(f"{len(traced.values)} values for {sum(sizes)} bytes of text")
    start = len(traced.text) - len(traced.text.lstrip())
    last = np.cumsum(sizes, dtype=int) - 1
    return traced.text[start:], np.asarray(traced.values, float)[last[start:]]


class Scale(NamedTuple):
    """How a unit's values become colours: symmetric about the unit's threshold.

    reach: distance from the threshold at which the colour is full.
    sign: +1 when larger values mean the positive class, else -1.
    """

    threshold: float
    reach: float
    sign: int

    @classmethod
    def of(cls, top_unit: dict) -> "Scale":
        """Take it from a classifier's top unit, so that all its texts have one scale.

        Full colour is where half of the texts of a class are, on average.
        """
        threshold = top_unit["threshold"]
        middles = [quantiles["0.50"] for quantiles in top_unit["quantiles"].values()]
        reach = float(np.mean(np.abs(np.subtract(middles, threshold))))
        return cls(threshold, reach or 1.0, top_unit["sign"])

    def position(self, values: np.ndarray) -> np.ndarray:
        """Return where values lie from -1 (negative) over 0 (threshold) to 1."""
        distance = (np.asarray(values, float) - self.threshold) / self.reach
        return np.clip(self.sign * distance, -1, 1)


def colours(positions: np.ndarray) -> np.ndarray:
    """Return red, green and blue, uint8[N, 3], for positions from -1 to 1."""
    stops = np.array([list(bytes.fromhex(stop[1:])) for stop in STOPS], float)
    places = np.linspace(-1, 1, len(stops))
    mixed = [np.interp(positions, places, stops[:, c]) for c in range(3)]
    return np.rint(np.stack(mixed, axis=-1)).astype(np.uint8)
