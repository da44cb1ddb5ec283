"""What a unit does in texts: where it rises, is highest, and how long it remembers."""

import re
from collections.abc import Sequence

import numpy as np

from sdjax.inference.units.texts import ReadText
from sdjax.report.unit_findings import Change, Context, UnitProfile

_BARS = 60
_REACH = 4.0  # standard deviations that a histogram shows on each side
_LAGS = 512
_ENOUGH = 0.1  # of all characters must have one so many later
_LISTED = 8
_RARELY = 20  # a character or word that is read less often is not listed
_BEFORE, _AFTER = 60, 25  # characters that are shown around a place
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


class _Means:
    """The mean change of every unit at each of some things that are read."""

    def __init__(self, units: int):
        self._index: dict[str, int] = {}
        self._counts = np.zeros(0, np.int64)
        self._sums = np.zeros((units, 0))

    def add(self, read: Sequence[str], changes: np.ndarray) -> None:
        """Count some changes, float32[units, n], where n things were read."""
        known = self._index
        index = np.array([known.setdefault(name, len(known)) for name in read], int)
        missing = len(known) - len(self._counts)
        self._counts = np.pad(self._counts, (0, missing))
        self._sums = np.pad(self._sums, ((0, 0), (0, missing)))
        self._counts += np.bincount(index, minlength=len(known))
        for sums, change in zip(self._sums, changes, strict=True):
            sums += np.bincount(index, change, len(known))

    def most(self, unit: int) -> tuple[list[Change], list[Change]]:
        """Return what makes a unit rise most, and what makes it fall most."""
        names = list(self._index)
        often = np.flatnonzero(self._counts >= _RARELY)
        means = self._sums[unit, often] / self._counts[often]
        found = [
            Change(names[often[i]], float(means[i]), int(self._counts[often[i]]))
            for i in np.argsort(-means, kind="stable")
        ]
        rising = [change for change in found if change.mean > 0][:_LISTED]
        falling = [change for change in found[::-1] if change.mean < 0][:_LISTED]
        return rising, falling


class Profiles:
    """Gathers the profiles of some units, text by text.

    Args:
        units: their indices in the state.
        means, deviations: float64[units], of their values, as known before.
    """

    def __init__(self, units: Sequence[int], means: np.ndarray, deviations: np.ndarray):
        self._units, self._middle = list(units), np.asarray(means)[:, None]
        spread = np.where(deviations > 0, deviations, 1.0)[:, None]
        self._edges = self._middle + spread * np.linspace(-_REACH, _REACH, _BARS + 1)
        self._bars = np.zeros((len(units), _BARS), np.int64)
        self._count, self._sum, self._square = 0, 0.0, 0.0
        self._products = np.zeros((len(units), _LAGS))
        self._pairs = np.zeros(_LAGS)
        self._characters, self._words = _Means(len(units)), _Means(len(units))
        self._extremes: list[tuple] = []

    def add(self, text: ReadText, values: np.ndarray) -> None:
        """Count one text, and the values of the units at its characters, [units, C]."""
        length = values.shape[1]
        self._count += length
        self._sum = self._sum + values.sum(axis=1, dtype=np.float64)
        self._square = self._square + np.square(values, dtype=np.float64).sum(axis=1)
        for bars, edges, of_one in zip(self._bars, self._edges, values, strict=True):
            inside = np.clip(of_one, edges[0], edges[-1])
            bars += np.histogram(inside, edges)[0]
        # By a transform: all lags of a long text one by one would take minutes.
        transform = np.fft.rfft(values - self._middle, 2 * length)
        lags = min(length, _LAGS)
        power = np.fft.irfft(np.abs(transform) ** 2, 2 * length)[:, :lags]
        self._products[:, :lags] += power
        self._pairs[:lags] += length - np.arange(lags)
        if length > 1:
            self._characters.add(text.text[1:], np.diff(values))
        spans = [match.span() for match in _WORD.finditer(text.text)]
        spans = np.array([span for span in spans if span[0]], int).reshape(-1, 2)
        words = [text.text[a:b].lower() for a, b in spans]
        self._words.add(words, values[:, spans[:, 1] - 1] - values[:, spans[:, 0] - 1])
        self._extremes.append((text, values.argmax(axis=1), values.max(axis=1)))
        self._extremes.append((text, values.argmin(axis=1), values.min(axis=1)))

    def finish(self, follows: Sequence[list[tuple[str, float]]]) -> list[UnitProfile]:
        """Return the profiles.

        Args:
            follows: of each unit, as for `UnitProfile`.
        """
        means = self._sum / self._count
        variances = np.maximum(self._square / self._count - means**2, 0)
        highest, lowest = self._extremes[::2], self._extremes[1::2]
        found = []
        for place, unit in enumerate(self._units):
            correlation, time = self._correlation(place)
            found.append(
                UnitProfile(
                    unit=unit,
                    mean=float(means[place]),
                    deviation=float(np.sqrt(variances[place])),
                    counts=self._bars[place],
                    edges=self._edges[place],
                    characters=self._characters.most(place),
                    words=self._words.most(place),
                    highest=_contexts(highest, place, -1),
                    lowest=_contexts(lowest, place, 1),
                    correlation=correlation,
                    time=time,
                    follows=follows[place],
                )
            )
        return found

    def _correlation(self, place: int) -> tuple[np.ndarray, float | None]:
        seen = self._pairs > _ENOUGH * self._pairs[0]
        mean = self._products[place, seen] / self._pairs[seen]
        if mean[0] <= 0:  # it never moves
            return np.ones(int(seen.sum())), None
        correlation = mean / mean[0]
        below = np.flatnonzero(correlation < 1 / np.e)
        if not len(below):
            return correlation, None
        end = int(below[0])
        above, under = correlation[end - 1], correlation[end]
        return correlation, float(end - 1 + (above - 1 / np.e) / (above - under))


def _contexts(extremes: Sequence[tuple], place: int, sign: int) -> list[Context]:
    """Return the places of most extreme value, one a text."""
    order = sorted(extremes, key=lambda one: sign * one[2][place])[:_LISTED]
    found = []
    for text, places, values in order:
        at = int(places[place])
        before, after = text.text[:at], text.text[at + 1 :]
        found.append(
            Context(
                float(values[place]),
                before[-_BEFORE:],
                text.text[at],
                after[:_AFTER],
            )
        )
    return found
