"""The values of all units in 4,096 bins each, of which ranks are made."""

import numpy as np

from sdjax.inference.units.rank_scores import middle_ranks

BINS = 4096
_GRID = 16384  # equal steps over a unit's range, each of which lies in one bin


class UnitBins:
    """Bins of about equally many values, from a sample of each unit's.

    A value that the sample has often is in a bin of its own.

    Args:
        sample: float32[U, S], what each unit held at some characters.
    """

    def __init__(self, sample: np.ndarray):
        ordered = np.sort(sample, axis=1)
        units, size = ordered.shape
        self._low = ordered[:, :1].copy()
        span = ordered[:, -1:] - self._low
        # A unit that never moves has one bin.
        self._scale = np.divide(
            _GRID - 1, span, out=np.zeros_like(span), where=span > 0
        )
        places = np.linspace(0, size - 1, BINS + 1)[1:-1].round().astype(int)
        self._edges = _around_repeated(ordered[:, places])
        self._bin_of = np.empty((units, _GRID), np.uint16)
        steps = np.arange(_GRID, dtype=np.float32) / (_GRID - 1)
        for unit in range(units):
            grid = self._low[unit] + steps * span[unit]
            self._bin_of[unit] = np.searchsorted(self._edges[unit], grid)

    def of(self, unit: int, values: np.ndarray) -> np.ndarray:
        """Return the bin of each value of one unit: int64[n] of float32[n]."""
        return np.searchsorted(self._edges[unit], values)

    def single(self, unit: int) -> np.ndarray:
        """Return which bins of a unit can hold one value only, bool[BINS]."""
        edges = self._edges[unit]
        found = np.zeros(BINS, bool)
        found[1:-1] = np.nextafter(edges[:-1], np.float32(np.inf)) == edges[1:]
        return found

    def quickly(self, unit: int, values: np.ndarray) -> np.ndarray:
        """Return nearly what `of` does, ten times as fast: uint16[n].

        Near the edge of a bin a value may come into the next one; larger values never
        come into lower bins.
        """
        grid = (values - self._low[unit]) * self._scale[unit]
        np.clip(grid, 0, _GRID - 1, out=grid)
        return self._bin_of[unit].take(grid.astype(np.int32))


def _around_repeated(edges: np.ndarray) -> np.ndarray:
    """Move the edge before each repeated one to just below it.

    Args:
        edges: float32[U, edges], in order; a bin reaches from above one to the next.
    """
    moved = edges.copy()
    starts = np.diff(edges, axis=1, prepend=-np.inf) > 0
    starts[:, :-1] &= edges[:, :-1] == edges[:, 1:]
    starts[:, -1] = False
    units, places = np.nonzero(starts)
    below = np.nextafter(edges[units, places], np.float32(-np.inf))
    moved[units, np.maximum(places - 1, 0)] = below
    return moved


def centred_ranks(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ranks of all bins, from -1/2 to 1/2, and their standard deviation.

    Args:
        counts: int64[U, bins].

    Returns:
        float32[U, bins] with a mean of 0 over the values; float64[U].
    """
    total = counts.sum(axis=1, keepdims=True)
    ranks = (middle_ranks(counts) - (total + 1) / 2) / total
    spread = np.sqrt(np.sum(counts * ranks**2, axis=1) / total[:, 0])
    return ranks.astype(np.float32), spread
