"""Featurizing texts against a PyTorch loop that pads each batch in file order."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks.interleave import interleave, ratio, spread
from benchmarks.train import EMBEDDING, VOCABULARY, untrained
from sdjax.data.text import Normalisation
from sdjax.features.encoder import Encoder


class Row(NamedTuple):
    """One variant; `ratio` is its time over ours, quartiles beside it.

    A core's second is one of processor time, whatever else the machine does.
    """

    variant: str
    hidden_size: int
    batch_size: int
    precision: str
    texts: int
    characters: int
    seconds: float
    seconds_quartiles: tuple[float, float]
    chars_per_second: float
    chars_per_core_second: float
    chars_per_core_second_quartiles: tuple[float, float]
    ratio: float | None
    ratio_quartiles: tuple[float, float] | None


def measure(
    texts: list[str],
    hidden_size: int,
    batch_size: int,
    precision: str,
    rounds: int,
    with_torch: bool = True,
) -> list[Row]:
    """Featurize all texts by each variant in turn.

    Args:
        texts: as read from a file, in its order.
        hidden_size: of a model with random weights; speed does not depend on them.
        batch_size: texts read at once, the same for both.
        precision: of ours; PyTorch computes in float32.
        rounds: timed passes over all texts.
        with_torch: also the PyTorch baseline; PyTorch must be installed.
    """
    model, params = untrained(hidden_size, precision)
    normalisation = Normalisation()
    ours = Encoder(model, params, batch_size=batch_size)
    encode = normalisation.encode
    variants = {"sdjax": lambda: ours.encode([encode(text) for text in texts])}
    encoded = [encode(text) for text in texts]
    if with_torch:
        from benchmarks import torch_models

        theirs = torch_models.MultiplicativeLSTM(hidden_size, EMBEDDING, VOCABULARY)
        theirs = theirs.to(torch_models.device())
        variants["PyTorch loop, padded, file order"] = lambda: torch_models.final_cells(
            theirs, encoded, batch_size
        )
    characters = int(np.sum([len(text) for text in encoded]))
    core_seconds = {name: [] for name in variants}
    timed = {name: _timed(run, core_seconds[name]) for name, run in variants.items()}
    seconds = interleave(timed, rounds, warm_up=1)
    rows = []
    for name in variants:
        middle, low, high = spread(seconds[name])
        per_core, *quartiles = spread([characters / s for s in core_seconds[name][1:]])
        times, slower, faster = ratio(seconds[name], seconds["sdjax"])
        rows.append(
            Row(
                variant=name,
                hidden_size=hidden_size,
                batch_size=batch_size,
                precision=precision,
                texts=len(texts),
                characters=characters,
                seconds=middle,
                seconds_quartiles=(low, high),
                chars_per_second=characters / middle,
                chars_per_core_second=per_core,
                chars_per_core_second_quartiles=tuple(quartiles),
                ratio=None if name == "sdjax" else times,
                ratio_quartiles=None if name == "sdjax" else (slower, faster),
            )
        )
    return rows


def _timed(run: Callable[[], object], core_seconds: list[float]) -> Callable:
    """Return a function that appends the processor time of each call."""

    def timed() -> None:
        start = time.process_time()
        run()
        core_seconds.append(time.process_time() - start)

    return timed
