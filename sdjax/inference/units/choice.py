"""Which unit follows a property best: the score of every unit, and that of chance."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from sdjax.errors import InputError
from sdjax.features.states import Piece
from sdjax.inference.units.bins import BINS, UnitBins, centred_ranks
from sdjax.inference.units.properties import AMOUNT, YES_NO, Property
from sdjax.inference.units.rank_scores import middle_ranks
from sdjax.inference.units.texts import Block, ReadText, blocks

_SAMPLE = 16384  # characters that the bins are made of
_AT_MOST = 2048  # bytes of one text among them

# Reads texts and yields the states of some of their units, all where none are named.
Reader = Callable[..., Iterator[Piece]]


class Amounts(NamedTuple):
    """How the values of a property are distributed over some texts.

    values: float32[V], the different ones, increasing.
    counts: int64[V].
    """

    values: np.ndarray
    counts: np.ndarray

    def ranks(self, values: np.ndarray) -> np.ndarray:
        """Return the rank of each value less the mean rank, float64[n]."""
        centred = middle_ranks(self.counts) - (self.counts.sum() + 1) / 2
        return centred[np.searchsorted(self.values, values)]

    @property
    def mean(self) -> float:
        return float(np.average(self.values.astype(float), weights=self.counts))

    @property
    def spread(self) -> float:
        """The sum of the squares of the ranks less their mean."""
        centred = middle_ranks(self.counts) - (self.counts.sum() + 1) / 2
        return float(np.sum(self.counts * centred**2))


class Choice(NamedTuple):
    """Every unit's score for every property, on the texts of the choice.

    scores: float64[units, properties], from -1/2 to 1/2 (AUC less one half) or from -1
        to 1; below 0 where the unit falls.
    chance: float64[permutations, properties], the largest of all units' sizes when the
        property is moved to other characters.
    bins: of every unit, and how the values of each lie in them.
    means, deviations: float64[units].
    """

    scores: np.ndarray
    chance: np.ndarray
    bins: UnitBins
    means: np.ndarray
    deviations: np.ndarray


def by_unit(
    piece: Piece,
    positions: Sequence[np.ndarray],
    starts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Pick the characters of a piece.

    Args:
        positions: `ReadText.last_bytes` of every text.
        starts: where each text begins among the characters of the block.

    Returns:
        The values at them, float32[units, n], and int[n], their places among the
        characters of the block.
    """
    length, _, width = piece.states.shape
    states, places = [np.empty((0, width), np.float32)], [np.empty(0, int)]
    for row in np.flatnonzero(piece.texts >= 0):
        text, offset = piece.texts[row], piece.offsets[row]
        first, end = np.searchsorted(positions[text], (offset, offset + length))
        states.append(piece.states[positions[text][first:end] - offset, row])
        places.append(starts[text] + np.arange(first, end))
    return np.ascontiguousarray(np.concatenate(states).T), np.concatenate(places)


def pieces_of(block: Block, read: Reader, units=None):
    """Read a block; yield `by_unit` of every piece."""
    positions = [text.last_bytes() for text in block.texts]
    for piece in read([text.data for text in block.texts], units=units):
        yield by_unit(piece, positions, block.starts)


def distributions(
    texts: Sequence[ReadText], properties: Sequence[Property]
) -> list[Amounts]:
    """Return how each property's values are distributed over the characters."""
    found: list[dict] = []
    for block in blocks(texts, properties):
        found = found or [{} for _ in block.values]
        for seen, values in zip(found, block.values, strict=True):
            different, counts = np.unique(values, return_counts=True)
            for value, count in zip(different, counts.tolist(), strict=True):
                seen[value] = seen.get(value, 0) + count
    result = []
    for seen in found:
        order = sorted(seen)
        counts = np.array([seen[value] for value in order], np.int64)
        result.append(Amounts(np.array(order, np.float32), counts))
    return result


def make_bins(texts: Sequence[ReadText], read: Reader) -> UnitBins:
    """Make the bins of every unit from the beginnings of some texts.

    Raises:
        InputError: a state is not finite.
    """
    chosen, count = [], 0
    for text in texts:
        chosen.append(text.data[:_AT_MOST])
        count += len(chosen[-1])
        if count >= _SAMPLE:
            break
    values = []
    for piece in read(chosen):
        for row in np.flatnonzero(piece.texts >= 0):
            left = len(chosen[piece.texts[row]]) - piece.offsets[row]
            values.append(piece.states[:left, row].copy())
    sample = np.concatenate(values)[:_SAMPLE].T
    if not np.isfinite(sample).all():
        raise InputError(
            f"{np.sum(~np.isfinite(sample).all(axis=1)):,} units of this model hold"
            " values that are not finite: use another checkpoint, or precision fp32"
        )
    return UnitBins(sample)


def choose(
    texts: Sequence[ReadText],
    properties: Sequence[Property],
    kinds: Sequence[str],
    amounts: Sequence[Amounts],
    read: Reader,
    *,
    permutations: int,
    seed: int,
    advance: Callable[[int], object],
) -> Choice:
    """Score every unit for every property, in two readings of the texts.

    The first counts how the values of each unit lie in its bins, which gives every bin
    its rank. In the second all scores are one product of matrices: ranks of the units
    by ranks of the properties. For chance, the properties of a block are moved along
    its characters by a random distance: what stands together stays together.

    Args:
        texts: of the choice.
        properties: without the columns of the texts, which follow them.
        kinds: of all properties, columns included.
        amounts: `distributions` of them.
        read: gives the states.
        advance: called with the number of characters read.
    """
    bins = make_bins(texts, read)
    pieces = partial(pieces_of, read=read)
    counts, sums, squares = None, 0.0, 0.0
    for block in blocks(texts, ()):
        for values, _ in pieces(block):
            if counts is None:
                counts = np.zeros((len(values), BINS), np.int64)
            for unit, of_one in enumerate(values):
                counts[unit] += np.bincount(bins.quickly(unit, of_one), minlength=BINS)
            sums = sums + values.sum(axis=1, dtype=np.float64)
            squares = squares + np.square(values, dtype=np.float64).sum(axis=1)
            advance(values.shape[1])
    total = int(counts[0].sum())
    ranks, spread = centred_ranks(counts)
    rng = np.random.default_rng([seed, 1])
    products = np.zeros((len(counts), permutations + 1, len(kinds)))
    for block in blocks(texts, properties):
        asked = _as_ranks(block.values, kinds, amounts)
        size = block.characters
        least = max(1, size // 20)
        moved = rng.integers(least, max(least + 1, size - least), permutations)
        shifts = np.concatenate([[0], moved])
        for values, places in pieces(block):
            ranked = np.empty_like(values)
            for unit, of_one in enumerate(values):
                ranked[unit] = ranks[unit].take(bins.quickly(unit, of_one))
            columns = (places[:, None] + shifts) % size
            right = asked[columns].reshape(len(places), -1)
            products += (ranked @ right).reshape(products.shape)
            advance(len(places))
    scores = products * _factors(kinds, amounts, total)
    amount = np.array([kind == AMOUNT for kind in kinds])
    spread = np.where(spread > 0, spread, 1)[:, None, None]
    scores = np.where(amount, scores / spread, scores)
    means = sums / total
    deviations = np.sqrt(np.maximum(squares / total - means**2, 0))
    chance = np.abs(scores[:, 1:]).max(axis=0)
    return Choice(scores[:, 0], chance, bins, means, deviations)


def _as_ranks(values, kinds, amounts) -> np.ndarray:
    """Return what is multiplied by the units' ranks: float32[n, properties]."""
    columns = np.empty((values.shape[1], len(kinds)), np.float32)
    for place, (kind, known) in enumerate(zip(kinds, amounts, strict=True)):
        if kind == YES_NO:
            columns[:, place] = values[place] > known.values[0]
        else:
            columns[:, place] = known.ranks(values[place]) / known.counts.sum()
    return columns


def _factors(kinds, amounts, total: int) -> np.ndarray:
    """Return what a product of ranks is multiplied by to be a score, by property."""
    factors = []
    for kind, known in zip(kinds, amounts, strict=True):
        if kind == YES_NO:
            no, yes = known.counts
            factors.append(total / (yes * no))
        else:
            size = np.sqrt(known.spread / total) / total
            factors.append(1 / (total * size))
    return np.array(factors)
