"""How fast one process makes batches, and whether it stays that fast."""

import time
from typing import NamedTuple

from tqdm import tqdm

from benchmarks.interleave import spread
from sdjax.data.corpus import Corpus
from sdjax.data.windows import Windows
from sdjax.training.parallel import split_batch


class Row(NamedTuple):
    """Characters per second over the run; `by_part` is the rate in each tenth of it."""

    variant: str
    batch_size: int
    window_size: int
    seconds: float
    characters: int
    chars_per_second: float
    chars_per_second_quartiles: tuple[float, float]
    by_part: tuple[float, ...]


def measure(
    corpus: Corpus, batch_size: int, window_size: int, devices: int, seconds: float
) -> list[Row]:
    """Read windows of train as the training loop does, epoch after epoch.

    Args:
        corpus: an open corpus.
        batch_size, window_size: of a batch.
        devices: that each batch is split for.
        seconds: how long to go on.
    """
    windows = Windows(corpus, "train", batch_size=batch_size, window_size=window_size)
    parts, step, characters = 10, 0, 0
    rates = []
    with tqdm(total=round(seconds), unit="s", leave=False) as bar:
        for part in range(parts):
            start, before = time.perf_counter(), characters
            while (spent := time.perf_counter() - start) < seconds / parts:
                batch = split_batch(windows[step], devices)
                characters += int(batch.lengths.sum())
                step += 1
            rates.append((characters - before) / spent)
            bar.update(round(seconds * (part + 1) / parts) - bar.n)
    middle, low, high = spread(rates)
    return [
        Row(
            variant="windows",
            batch_size=batch_size,
            window_size=window_size,
            seconds=seconds,
            characters=characters,
            chars_per_second=middle,
            chars_per_second_quartiles=(low, high),
            by_part=tuple(rates),
        )
    ]
