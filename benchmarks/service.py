"""Clients that ask at once: one request at a time against the queue of a service."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.interleave import interleave, ratio, spread
from benchmarks.train import untrained
from sdjax.checkpoints.load import Loaded
from sdjax.checkpoints.meta import Meta
from sdjax.data.text import Normalisation
from sdjax.inference.score_queue import ScoreQueue
from sdjax.inference.unit_scoring import UnitScorer

ONE, QUEUE = "one request at a time", "the queue"


class Row(NamedTuple):
    """One variant; `speed` is its rate over one at a time, quartiles beside it.

    The latencies, in seconds from a request to its answer, are of all rounds together.
    """

    variant: str
    hidden_size: int
    clients: int
    precision: str
    requests: int
    characters: int
    seconds: float
    seconds_quartiles: tuple[float, float]
    requests_per_second: float
    median_latency: float
    latency_99: float
    speed: float | None
    speed_quartiles: tuple[float, float] | None


def measure(
    texts: list[str], hidden_size: int, clients: int, precision: str, rounds: int
) -> list[Row]:
    """Score each text as a request of its own, in turn by each variant.

    Each client is a thread that asks for the next text once it has its answer.

    Args:
        hidden_size: of a model with random weights; speed does not depend on them.
        clients: that ask at the same time.
        precision: fp32, bf16 or fp16.
        rounds: timed passes over all texts.
    """
    scorer = _scorer(hidden_size, precision)
    scorer.score(texts[:1])  # compiles
    turn = threading.Lock()

    def one(text: str) -> None:
        with turn:
            scorer.score([text])

    with ScoreQueue(scorer, capacity=len(texts)) as queue:
        ways = {ONE: one, QUEUE: lambda text: queue.score_many([text])}
        latencies = {name: [] for name in ways}
        variants = {
            name: _clients(way, texts, clients, latencies[name])
            for name, way in ways.items()
        }
        seconds = interleave(variants, rounds, warm_up=0)
    rows = []
    for name in ways:
        middle, low, high = spread(seconds[name])
        speed, slower, faster = ratio(seconds[ONE], seconds[name])
        rows.append(
            Row(
                variant=name,
                hidden_size=hidden_size,
                clients=clients,
                precision=precision,
                requests=len(texts),
                characters=sum(len(scorer.normalisation.encode(t)) for t in texts),
                seconds=middle,
                seconds_quartiles=(low, high),
                requests_per_second=len(texts) / middle,
                median_latency=float(np.median(latencies[name])),
                latency_99=float(np.quantile(latencies[name], 0.99)),
                speed=None if name == ONE else speed,
                speed_quartiles=None if name == ONE else (slower, faster),
            )
        )
    return rows


def _clients(
    way: Callable[[str], object], texts: list[str], count: int, latencies: list[float]
) -> Callable[[], None]:
    """Return a round: all texts by so many clients; latencies are appended."""

    def ask(text: str) -> float:
        start = time.perf_counter()
        way(text)
        return time.perf_counter() - start

    def all_of_them() -> None:
        with ThreadPoolExecutor(count) as threads:
            latencies.extend(threads.map(ask, texts))

    return all_of_them


def _scorer(hidden_size: int, precision: str) -> UnitScorer:
    model, params = untrained(hidden_size, precision)
    meta = Meta(0, {}, Normalisation())
    return UnitScorer(Loaded(model, params, meta, Path("bench")), "0")
