"""The probe's sweep in processes against the same nine fits one after another.

On features of the size of binary SST with a 4,096-unit model: noise, and a few units
that follow the label.
"""

import time
from typing import NamedTuple

import numpy as np

from benchmarks.interleave import ratio, spread
from sdjax.probe.sweep import C_VALUES, Split, fit_sweep


class Row(NamedTuple):
    """`ratio` is the time of the fits one after another over that in processes."""

    variant: str
    texts: int
    units: int
    workers: int
    seconds: float
    ratio: float | None
    ratio_quartiles: tuple[float, float] | None


def measure(texts: int, units: int, workers: int, repeats: int) -> list[Row]:
    """Fit at every C in one process and in several, in turn.

    Raises:
        ValueError: the weights are not the same to the last bit.
    """
    timed(made(64, 8), workers)  # starts the processes
    train, alone, together = made(texts, units), [], []
    for _ in range(repeats):
        seconds, weights = timed(train, workers)
        together.append(seconds)
        seconds, expected = timed(train, 1)
        alone.append(seconds)
        if not np.array_equal(weights, expected):
            raise ValueError("the weights differ from those of one process")
    middle, low, high = ratio(alone, together)
    return [
        Row("one after another", texts, units, 1, spread(alone)[0], None, None),
        Row("in processes", texts, units, workers, spread(together)[0], middle,
            (low, high)),
    ]  # fmt: skip


def made(texts: int, units: int, seed: int = 0) -> Split:
    """Labelled features: every unit noise of its own width, 16 that know a little."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, texts)
    features = random.standard_normal((texts, units), np.float32)
    features[:, :16] += 0.25 * (2 * labels - 1)[:, None].astype(np.float32)
    features *= np.exp(random.normal(-1, 1, units)).astype(np.float32)
    return Split(features, labels, labels[:, None])


def timed(train: Split, workers: int) -> tuple[float, np.ndarray]:
    """Seconds of wall time, and the weights at every C."""
    start = time.perf_counter()
    fitted = fit_sweep(train, C_VALUES, workers)
    return time.perf_counter() - start, np.stack([fits[0].weights for fits in fitted])
