"""Examples to begin with, and what every unit usually holds: its values in them."""

from typing import NamedTuple

import numpy as np

EXAMPLES = {
    "bytes": [
        "I love this phone. It works beautifully and I would buy it again.",
        "The price made me angry. It broke after a day and they refused to help.",
        "A good start, but a dull end.",
        'She said: "I have never been so disappointed," and sent it back in 2016.',
        "What a lovely afternoon we had, with coffee, cake and old friends!",
    ],
    "protein": [
        "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQ",
        "MGSSHHHHHHSSGLVPRGSHMASMTGGQQMGRGSEFELRRQACGRRR",
    ],
}


class Usual(NamedTuple):
    """What the units of the whole state hold in the examples.

    mean, deviation: float64[L*H], over all bytes.
    bytes_per_second: how fast they were read.
    """

    mean: np.ndarray
    deviation: np.ndarray
    bytes_per_second: float

    @classmethod
    def of(cls, cells: np.ndarray, bytes_per_second: float) -> "Usual":
        """Measure cells, float32[bytes, L*H]."""
        return cls(
            cells.mean(axis=0, dtype=np.float64),
            cells.std(axis=0, dtype=np.float64),
            bytes_per_second,
        )

    def most_active(self, cells: np.ndarray) -> list[int]:
        """Order units by their mean distance from the mean, in deviations."""
        distance = np.abs(cells - self.mean).mean(axis=0)
        # A unit that never moved in the examples has no measure of its own.
        safe = np.where(self.deviation > 0, self.deviation, np.inf)
        return np.argsort(-distance / safe, kind="stable").tolist()
