"""The losses of one run, measured in the ways that a training report could mean."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from sdjax.checkpoints.load import Loaded, load_model
from sdjax.checkpoints.stored import checkpoint_steps, read_meta
from sdjax.data.corpus import Corpus
from sdjax.data.windows import Windows
from sdjax.errors import InputError
from sdjax.training.evaluate import window_sums
from sdjax.training.loop import train
from sdjax.training.metrics import bits_per_character, read_metrics


class Loss(NamedTuple):
    """Summed cross-entropy of the predicted bytes of some shards.

    nats: their sum.
    characters: bytes predicted.
    """

    nats: float
    characters: int

    @property
    def bits(self) -> float:
        """Bits per character."""
        return bits_per_character(self.nats, self.characters)


def total(losses: Sequence[Loss]) -> Loss:
    """Return the loss of all of them together."""
    nats, characters = zip(*losses, strict=True)
    return Loss(sum(nats), sum(characters))


def trained(config: ConfigDict, workdir: Path) -> Loaded:
    """Train to the end unless that is done; return the last checkpoint, not the best.

    Args:
        config: as `train` takes it.
        workdir: of the run.

    Raises:
        InputError, SystemExit, OSError: as `train`.
    """
    steps = checkpoint_steps(workdir)
    if not steps or not _is_last(steps[-1]):
        train(config, workdir)
        # Each run compiles programs of its own, which nobody needs after it.
        jax.clear_caches()
        steps = checkpoint_steps(workdir)
    return load_model(steps[-1])


def _is_last(step: Path) -> bool:
    try:
        meta = read_meta(step)
    except InputError:
        return False  # training says what is wrong with it
    return meta.step == meta.total_steps


def running_loss(records: Sequence[Mapping]) -> float:
    """Return the mean bits per character while the weights changed, as logs give it.

    Args:
        records: of `metrics.jsonl`, each with `chars`, counted from the start of the
            run, and `train_bpc`, of those since the record before.
    """
    chars = np.diff([0, *(record["chars"] for record in records)])
    bits = np.array([record["train_bpc"] for record in records], np.float64)
    return float((chars * bits).sum() / chars.sum())


def losses_of_shards(
    loaded: Loaded,
    corpus: Corpus,
    split: str,
    shards: Sequence[int],
    *,
    rows: int,
    window_size: int,
    carry: str,
) -> list[Loss]:
    """Return the loss of each of some shards, with weights that stay as they are.

    Args:
        shards: their numbers in the split.
        rows, window_size, carry: how they are read (`Windows`).
    """
    chosen = tuple(corpus.shards[split][shard] for shard in shards)
    windows = Windows(
        replace(corpus, shards={split: chosen}),
        split,
        batch_size=rows,
        window_size=window_size,
        shuffle=False,
        carry=carry,
    )
    nats, predicted = window_sums(loaded.model, windows, rows)(loaded.params)
    ends = np.cumsum(windows.windows_of_shards)
    starts = ends - windows.windows_of_shards
    return [
        Loss(float(nats[start:end].sum()), int(predicted[start:end].sum()))
        for start, end in zip(starts, ends, strict=True)
    ]


def measure(loaded: Loaded, config: ConfigDict, run: Path) -> dict:
    """Measure a finished run in every way, without training it further.

    `running` is the average over all of training, as it logs the loss. The others are
    of the final weights: `train`, of as many shards of train as valid has, spread
    evenly over it; `valid`, of all of valid, read by as many rows as in training; and
    `valid_logged`, what training logged at its end, which is all of valid by
    `eval_batch_size` rows.

    Args:
        loaded: the last checkpoint.
        config: of the run, with its corpus.
        run: its folder.

    Returns:
        JSON-able: `train` and `valid` as [nats, characters] of each shard; the others
        in bits per character; and `characters` of the training.
    """
    corpus = Corpus.open(config.corpus)
    known = len(corpus.shards["train"])
    count = min(len(corpus.shards["valid"]), known)
    sample = [(2 * i + 1) * known // (2 * count) for i in range(count)]
    reads = {
        "rows": config.global_batch_size,
        "window_size": config.window_size,
        "carry": config.carry,
    }

    def losses(split: str, shards: Sequence[int]) -> list[list]:
        each = losses_of_shards(loaded, corpus, split, shards, **reads)
        return [list(loss) for loss in each]

    records = read_metrics(run / "metrics.jsonl")
    found = {
        "running": running_loss(records),
        "train": losses("train", sample),
        "valid": losses("valid", range(len(corpus.shards["valid"]))),
        "valid_logged": loaded.meta.valid_bpc,
        "characters": records[-1]["chars"],
    }
    jax.clear_caches()
    return found
