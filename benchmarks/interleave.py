"""Time several things in turn, so that a noisy machine is noisy for all of them."""

import statistics
import time
from collections.abc import Callable, Mapping

from tqdm import tqdm


def interleave(
    variants: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 2
) -> dict[str, list[float]]:
    """Call every variant once a round; return the seconds of each call.

    Args:
        variants: name -> function that returns when its work is done.
        rounds: timed calls of each.
        warm_up: calls of each before, not timed (compilation, caches).
    """
    names = list(variants)
    with tqdm(total=(rounds + warm_up) * len(names), leave=False) as bar:
        seconds = {name: [] for name in names}
        for index in range(warm_up + rounds):
            for name in names:
                bar.set_description(name)
                start = time.perf_counter()
                variants[name]()
                if index >= warm_up:
                    seconds[name].append(time.perf_counter() - start)
                bar.update()
    return seconds


def spread(values: list[float]) -> tuple[float, float, float]:
    """Return the median and the quartiles below and above it."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def ratio(slower: list[float], faster: list[float]) -> tuple[float, float, float]:
    """Return how many times faster, round by round: median and quartiles."""
    return spread([a / b for a, b in zip(slower, faster, strict=True)])
