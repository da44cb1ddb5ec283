"""A run put together from its config: the parts that stay the same while it trains."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import optax
from flax.training.dynamic_scale import DynamicScale
from ml_collections import ConfigDict

from sdjax.checkpoints.load import describe, model_config
from sdjax.checkpoints.meta import Meta
from sdjax.checkpoints.stored import checkpoint_steps, read_meta
from sdjax.data.corpus import Corpus
from sdjax.data.windows import Windows
from sdjax.errors import Damaged, InputError
from sdjax.model.language_model import LanguageModel, init_params
from sdjax.model.precision import loss_scale, set_matmul_precision
from sdjax.portable import relative_path
from sdjax.ranges import LARGEST_COUNT
from sdjax.training import multihost
from sdjax.training.config.checks import check, rows_of_each
from sdjax.training.config.model import build_model, with_model
from sdjax.training.metrics import Progress
from sdjax.training.optimizer import optimizer, scaled_learning_rate, schedule
from sdjax.training.step import TrainState, create_train_state
from sdjax.training.summary import memory_summary, summary


class Training(NamedTuple):
    """A config turned into model, schedule and optimizer; nothing is allocated."""

    model: LanguageModel
    learning_rate: optax.Schedule  # by updates applied
    tx: optax.GradientTransformation
    loss_scale: DynamicScale  # the first one
    total_steps: int


@dataclass(frozen=True)
class Run:
    """What a run reads, what it trains and where it writes.

    Args:
        config: every key has a value.
        devices: of this process.
        valid: windows of valid, in the order of the manifest.
    """

    config: ConfigDict
    workdir: Path
    corpus: Corpus
    windows: Windows
    valid: Windows
    training: Training
    devices: Sequence[jax.Device]

    def meta(self, progress: Progress, valid_bpc: float | None = None) -> Meta:
        """Return what a checkpoint at this point says of itself."""
        stream = ("global_batch_size", "window_size", "seed", "carry")
        return Meta(
            step=progress.step,
            model=model_config(self.training.model),
            normalisation=self.corpus.normalisation,
            corpus=self.corpus.fingerprint,
            stream={key: self.config[key] for key in stream},
            progress=progress.as_json(),
            config=self._portable_config(),
            valid_bpc=valid_bpc,
            total_steps=self.training.total_steps,
        )

    def _portable_config(self) -> dict:
        """Return the config without absolute paths, which mean nothing elsewhere."""
        config = self.config.to_dict()
        for key in ("corpus", "initial_checkpoint"):
            if os.path.isabs(path := config[key]):
                config[key] = relative_path(path, self.workdir) or Path(path).name
        return config


def build_run(
    config: ConfigDict, workdir: Path, devices: Sequence[jax.Device] | None = None
) -> Run:
    """Check a config, open its corpus and put the run together.

    Args:
        devices: of this process; None for all of them.

    Raises:
        InputError: a value that no run can use, a corpus that does not open, or a
            checkpoint to start from that contradicts the config.
    """
    check(config)
    set_matmul_precision(config.matmul_precision)
    corpus = Corpus.open(config.corpus)
    start = multihost.from_first(lambda: _start(config, workdir))
    config = with_model(config, corpus.normalisation.codec, start)
    devices = tuple(devices or jax.local_devices())
    rows_of_each(config, len(devices) * jax.process_count())
    windows = Windows(
        corpus,
        "train",
        batch_size=config.global_batch_size,
        window_size=config.window_size,
        seed=config.seed,
        rows=multihost.own_rows(config.global_batch_size),
        carry=config.carry,
    )
    valid = Windows(
        corpus,
        "valid",
        batch_size=config.eval_batch_size,
        window_size=config.window_size,
        shuffle=False,
        carry=config.carry,
    )
    training = build_training(config, len(windows))
    return Run(config, workdir, corpus, windows, valid, training, devices)


def _start(config: ConfigDict, workdir: Path) -> dict | None:
    """Say what model the run has, or starts from, for what its config leaves open."""
    if meta := _newest_meta(workdir):
        # Contradictions to a run that is there are for `check_same_run` to report.
        given = {k: v for k, v in config.model.items() if v is not None}
        model, codec = dict(meta.model) | given, None
    elif config.initial_checkpoint:
        meta = describe(Path(config.initial_checkpoint))
        model, codec = dict(meta.model), meta.normalisation.codec
    else:
        return None
    return {"model": model, "codec": codec}


def _newest_meta(workdir: Path) -> Meta | None:
    """Return what the newest checkpoint says of the run, of those that can be read."""
    for step in reversed(checkpoint_steps(workdir)):
        try:
            return read_meta(step)
        except Damaged:
            continue  # resuming names it
    return None


def build_training(config: ConfigDict, windows_per_epoch: int) -> Training:
    """Return model, schedule and optimizer of a config `with_model`.

    Raises:
        InputError: the warm-up is longer than the training, or that too long.
    """
    by_epochs = round(config.train_epochs * windows_per_epoch)
    if by_epochs > LARGEST_COUNT and not config.train_steps:
        raise InputError(
            f"config.train_epochs is {config.train_epochs}: that would be"
            f" {by_epochs:,} steps, more than the {LARGEST_COUNT:,} that are counted"
        )
    total_steps = config.train_steps or max(1, by_epochs)
    decay_steps = config.decay_steps or total_steps
    if decay_steps <= config.warmup_steps:
        raise InputError(
            f"config.warmup_steps is {config.warmup_steps}: it must be below the"
            f" {decay_steps} steps until the learning rate is 0"
        )
    peak = scaled_learning_rate(
        config.base_learning_rate, config.global_batch_size, config.max_learning_rate
    )
    learning_rate = schedule(peak, config.warmup_steps, decay_steps)
    tx = optimizer(
        learning_rate,
        clip_norm=config.clip_norm,
        b1=config.adam_b1,
        b2=config.adam_b2,
        eps=config.adam_eps,
    )
    scale = loss_scale(config.precision, **config.loss_scale)
    return Training(build_model(config), learning_rate, tx, scale, total_steps)


def initial_state(config: ConfigDict, training: Training) -> TrainState:
    """Return the train state before the first step, from random parameters."""
    return create_train_state(
        training.model,
        training.tx,
        training.loss_scale,
        init_params(training.model, jax.random.key(config.seed)),
    )


def describe_run(run: Run) -> str:
    """Say what the run is about to do, a line for each figure."""
    config, training = run.config, run.training
    return summary(
        training.model,
        run.windows,
        batch_size=config.global_batch_size,
        window_size=config.window_size,
        devices=len(run.devices) * jax.process_count(),
        total_steps=training.total_steps,
        learning_rate=float(training.learning_rate(config.warmup_steps)),
        master_params=config.master_params,
        all_reduce_dtype=config.all_reduce_dtype,
    )


def describe_memory(config: ConfigDict, devices: int) -> str:
    """Say what memory a step takes on so many devices; none of them is needed.

    The corpus need not be there: a model whose vocabulary is open is one of bytes.
    """
    check(config)
    config = with_model(config, "bytes", _start(config, Path("nowhere")))
    return memory_summary(
        build_model(config),
        rows=rows_of_each(config, devices),
        window_size=config.window_size,
        all_reduce_dtype=config.all_reduce_dtype,
    )
