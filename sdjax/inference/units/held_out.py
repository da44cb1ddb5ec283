"""The scores of chosen units on texts that were held out from the choice."""

from collections.abc import Sequence

import numpy as np

from sdjax.inference.units.bins import BINS, UnitBins
from sdjax.inference.units.choice import Amounts
from sdjax.inference.units.properties import YES_NO
from sdjax.inference.units.rank_scores import (
    Score,
    auc,
    binned_auc,
    binned_correlation,
    rank_correlation,
)

EXACT_UP_TO = 100_000  # characters


class HeldOut:
    """Gathers what the scores of some (unit, property) pairs need, block by block.

    Up to `EXACT_UP_TO` characters all values are kept; above, how they lie in bins.

    Args:
        pairs: (unit, property), indices.
        kinds: of all properties.
        amounts: of all properties, over the held-out texts.
        bins: of all units.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[int, int]],
        kinds: Sequence[str],
        amounts: Sequence[Amounts],
        bins: UnitBins,
    ):
        self._pairs, self._kinds, self._amounts = list(pairs), kinds, amounts
        self._bins = bins
        self._exact = int(amounts[0].counts.sum()) <= EXACT_UP_TO
        self._values = {pair: [] for pair in self._pairs}
        self._counts = {pair: np.zeros((2, BINS)) for pair in self._pairs}
        self._moments = {pair: np.zeros((2, 2)) for pair in self._pairs}

    def add(self, units: Sequence[int], states: np.ndarray, values: np.ndarray) -> None:
        """Count some characters.

        Args:
            units: which units `states` has.
            states: float32[units, n].
            values: float32[properties, n].
        """
        row = {unit: place for place, unit in enumerate(units)}
        for pair in self._pairs:
            unit, asked = pair
            of_one, property_values = states[row[unit]], values[asked]
            known = self._amounts[asked]
            if self._kinds[asked] == YES_NO:
                weights = (property_values > known.values[0]).astype(float)
                for side in (0, 1):
                    here = of_one[weights == side].astype(np.float64)
                    self._moments[pair][side] += len(here), here.sum()
            if self._exact:
                self._values[pair].append((of_one, property_values))
                continue
            if self._kinds[asked] != YES_NO:
                weights = known.ranks(property_values)
            at, counts = self._bins.of(unit, of_one), self._counts[pair]
            counts[0] += np.bincount(at, minlength=BINS)
            counts[1] += np.bincount(at, weights, BINS)

    def score(self, pair: tuple[int, int]) -> Score:
        """Return the AUC or the rank correlation of a pair."""
        kind, known = self._kinds[pair[1]], self._amounts[pair[1]]
        if self._exact:
            values, asked = (
                np.concatenate(x) for x in zip(*self._values[pair], strict=True)
            )
            if kind == YES_NO:
                return Score(auc(values, asked > known.values[0]))
            return Score(rank_correlation(values, asked))
        counts, sums = self._counts[pair]
        single = self._bins.single(pair[0])
        if kind == YES_NO:
            return binned_auc(sums, counts - sums, single)
        return binned_correlation(counts, sums, known.spread, single)

    def class_means(self, pair: tuple[int, int]) -> tuple[float, float]:
        """Return a unit's mean where a property does not hold, and where it does."""
        return tuple(total / count for count, total in self._moments[pair])
