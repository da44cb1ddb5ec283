"""Fine-tuning: a classifier's head and the language model under it, end to end.

The head starts as a logistic regression on the features of the model as it is (Kumar
et al. 2022, "LP-FT"), so the first epoch starts from what a probe knows, and the best
epoch is never worse on valid than that.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from sdjax.checkpoints.load import Loaded
from sdjax.errors import InputError
from sdjax.features.featurizer import TextFeaturizer
from sdjax.finetune.batches import TextBatch, batches_per_epoch, text_batches
from sdjax.finetune.head import first_head, log_loss, with_thresholds
from sdjax.finetune.settings import Settings
from sdjax.finetune.step import Standard, head_optimizer, head_step
from sdjax.model.cell import RecurrentState
from sdjax.model.classifier import Classifier
from sdjax.model.devices import AXIS, devices_for, replicate, split_rows, zero_carry
from sdjax.model.precision import loss_scale
from sdjax.probe.sweep import Split, scores_of
from sdjax.probe.targets import Targets
from sdjax.training.metrics import bits_per_character
from sdjax.training.step import TrainState, create_train_state

_CHUNK = 256  # bytes read at once of what comes before the last `max_bytes`


class Labelled(NamedTuple):
    """Texts with labels as positions (`Targets.positions`), int64[N] or [N, K]."""

    texts: list[str]
    positions: np.ndarray


class Tuned(NamedTuple):
    """A model, its classifier, and what they reach on valid.

    updates: optimizer updates behind it; 0 is the head alone on the model as it was.
    """

    params: dict
    classifier: Classifier
    epoch: int
    updates: int
    score: float  # by the targets' criterion
    loss: float  # of the head, nats per text


def finetune(
    loaded: Loaded,
    targets: Targets,
    train: Labelled,
    valid: Labelled,
    settings: Settings,
    *,
    keep: Callable[[Tuned], None],
    log: Callable[[dict], None],
    stopping: Callable[[], bool],
    progress: bool = True,
) -> Tuned:
    """Train head and model; return the best epoch on valid.

    Args:
        loaded: the language model.
        targets: the task.
        train, valid: labelled texts; valid chooses the epoch and the thresholds.
        settings: how.
        keep: called with each new best; what it saves survives whatever comes next.
        log: called with one record an epoch.
        stopping: whether to stop after the update under way.
        progress: show progress bars on standard error.

    Raises:
        InputError: the features are not finite.
    """
    run = _Run(loaded, targets, settings, progress)
    best = run.start(train, valid)
    keep(best)
    log(_record(best, {}))
    encoded = run.normalisation.encode_all(train.texts)
    one_hot = targets.columns(train.positions).astype(np.float32)
    for epoch in range(1, settings.epochs + 1):
        sums = run.train_epoch(encoded, one_hot, epoch, stopping)
        if stopping():
            break
        tuned_now = run.measure(valid, epoch)
        log(_record(tuned_now, sums))
        if (tuned_now.score, -tuned_now.loss) > (best.score, -best.loss):
            best = tuned_now
            keep(best)
        if epoch - best.epoch >= settings.patience:
            break
    return best


def _record(found: Tuned, sums: Mapping) -> dict:
    return {
        "epoch": found.epoch,
        "updates": found.updates,
        **sums,
        "valid_score": found.score,
        "valid_loss": found.loss,
    }


class _Run:
    """The parts that stay the same from epoch to epoch, and the state that does not."""

    def __init__(self, loaded, targets: Targets, settings: Settings, progress: bool):
        self.loaded, self.targets, self.settings = loaded, targets, settings
        self.progress = progress
        self.normalisation = loaded.meta.normalisation
        self.devices = devices_for(settings.batch_size)
        link = "softmax" if targets.task == "multiclass" else "sigmoid"
        self.link = link
        options = {"axis_name": AXIS, "devices": self.devices}
        self._step = jax.pmap(
            partial(head_step, link=link, lm_weight=settings.lm_weight),
            in_axes=(None, None, 0, 0, 0, 0),
            out_axes=(None, None),
            donate_argnums=0,
            **options,
        )
        self._read = jax.pmap(
            self._read_on, in_axes=(None, 0, 0, 0), donate_argnums=2, **options
        )

    def _read_on(self, params, tokens, carry, lengths) -> RecurrentState:
        arguments = tokens, carry, lengths
        return self.loaded.model.apply({"params": params}, *arguments, method="encode")

    def start(self, train: Labelled, valid: Labelled) -> Tuned:
        """Fit the first head; make the train state."""
        one_hot = self.targets.columns(train.positions)
        features = self.features(self.loaded.params, train.texts)
        mean, scale = features.mean(axis=0), features.std(axis=0)
        self.standard = Standard(mean, np.where(scale > 0, scale, 1).astype("f4"))
        found = self.features(self.loaded.params, valid.texts)
        scaled = [(x - mean) / self.standard.scale for x in (features, found)]
        valid_one_hot = self.targets.columns(valid.positions)
        head = first_head(scaled[0], one_hot, scaled[1], valid_one_hot, self.link)
        steps = self.settings.epochs * batches_per_epoch(
            self.normalisation.encode_all(train.texts),
            self.settings.batch_size,
            self.settings.max_bytes,
        )
        state = create_train_state(
            self.loaded.model,
            head_optimizer(
                self.settings.learning_rate,
                self.settings.body_ratio,
                int(self.settings.warmup * steps),
                steps,
            ),
            loss_scale(
                self.loaded.model.precision, initial=2.0**15, growth_interval=500
            ),
            {"body": self.loaded.params, "head": head},
        )
        self.updates, self.skipped = 0, 0
        self.state: TrainState = replicate(state, self.devices)
        self.standard = replicate(self.standard, self.devices)
        return self.measure(valid, 0, found)

    def train_epoch(self, encoded, one_hot, epoch: int, stopping) -> dict:
        """Take one update per batch; return the epoch's sums."""
        settings, pending, losses, nats, predicted = self.settings, [], [], 0.0, 0
        batches = text_batches(
            encoded, settings.batch_size, settings.max_bytes, settings.seed, epoch
        )
        with tqdm(
            total=sum(map(len, encoded)),
            desc=f"epoch {epoch} of {settings.epochs}",
            unit="ch",
            unit_scale=True,
            disable=not self.progress,
        ) as bar:
            for batch in batches:
                pending.append((batch, self.update(batch, one_hot[batch.rows])))
                if stopping():
                    break
                if len(pending) > 2:
                    self._collect(pending, encoded, bar, losses)
            while pending:
                self._collect(pending, encoded, bar, losses)
        for metrics in losses:
            nats, predicted = nats + metrics.nats, predicted + int(metrics.predicted)
        finite = [m.loss for m in losses if math.isfinite(m.loss)]
        return {
            "train_loss": float(np.mean(finite)) if finite else math.nan,
            "train_bpc": bits_per_character(float(nats), predicted),
            "skipped": self.skipped,
        }

    def _collect(self, pending: list, encoded, bar, losses: list) -> None:
        """Wait for the oldest update; show its loss."""
        batch, metrics = pending.pop(0)
        metrics = jax.device_get(metrics)
        losses.append(metrics)
        self.skipped += int(metrics.skipped)
        bar.set_postfix(loss=f"{metrics.loss:.3f}", refresh=False)
        counted = batch.rows[batch.weights > 0]
        bar.update(sum(len(encoded[row]) for row in counted))

    def update(self, batch: TextBatch, one_hot: np.ndarray):
        """Read what comes before, then take one update on the last bytes."""
        count = len(self.devices)
        carry = zero_carry(self.loaded.model, len(batch.rows), count)
        for start in range(0, max(map(len, batch.before)), _CHUNK):
            tokens = np.zeros((_CHUNK, len(batch.rows)), np.uint8)
            lengths = np.zeros(len(batch.rows), np.int32)
            for row, data in enumerate(batch.before):
                piece = np.frombuffer(data[start : start + _CHUNK], np.uint8)
                tokens[: len(piece), row], lengths[row] = piece, len(piece)
            rows = split_rows(tokens, count), carry, split_rows(lengths, count)
            carry = self._read(self.state.params["body"], *rows)
        self.state, metrics = self._step(
            self.state,
            self.standard,
            carry,
            split_rows(batch.tokens, count),
            one_hot.reshape(count, -1, one_hot.shape[1]),
            split_rows(batch.weights, count),
        )
        self.updates += 1
        return metrics

    def features(self, params: dict, texts: list[str]) -> np.ndarray:
        """Return float32[N, H]: the cell after the last byte, as `sdjax classify`."""
        featurizer = TextFeaturizer.from_loaded(
            self.loaded._replace(params=params), progress=self.progress
        )
        found = featurizer.transform(texts)
        if not np.isfinite(found).all():
            raise InputError(
                "the features are not finite: did training diverge? Use a lower"
                " learning rate, or another precision"
            )
        return found

    def measure(self, valid: Labelled, epoch: int, features=None) -> Tuned:
        """Judge the state as it is on valid."""
        params = jax.device_get(self.state.params)
        if features is None:
            features = self.features(params["body"], valid.texts)
        columns = self.targets.columns(valid.positions)
        mean, scale = (np.asarray(x, np.float64) for x in self.standard)
        coef = params["head"]["coef"].astype(np.float64) / scale
        plain = Classifier(
            task=self.targets.task,
            classes=self.targets.classes,
            coef=coef,
            intercept=params["head"]["intercept"].astype(np.float64) - coef @ mean,
            thresholds=np.full(len(coef), 0.5),
            link=self.link,
        )
        split = Split(features, valid.positions, columns)
        saved = with_thresholds(plain, split)
        return Tuned(
            params["body"],
            saved,
            epoch,
            self.updates - self.skipped,
            scores_of(self.targets, saved, split)[self.targets.criterion],
            log_loss(saved, split),
        )
