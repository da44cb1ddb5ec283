"""Fine-tuning: a classifier's head and the language model under it, end to end.

The head starts as a logistic regression on the features of the model as it is (Kumar
et al. 2022, "LP-FT"), so the first epoch starts from what a probe knows, and the best
epoch is never worse on valid than that.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Protocol

import jax
import numpy as np
from tqdm import tqdm

from sdjax.checkpoints.load import Loaded
from sdjax.errors import InputError
from sdjax.features.featurizer import TextFeaturizer
from sdjax.finetune.batches import TextBatch, batches_per_epoch, text_batches
from sdjax.finetune.head import first_head, log_loss, with_thresholds
from sdjax.finetune.position import Position, Saved, Tuned
from sdjax.finetune.settings import Settings
from sdjax.finetune.splits import Labelled
from sdjax.finetune.step import Standard, head_optimizer, head_step
from sdjax.model.cell import RecurrentState
from sdjax.model.classifier import Classifier
from sdjax.model.devices import AXIS, devices_for, replicate, split_rows, zero_carry
from sdjax.model.precision import loss_scale
from sdjax.probe.sweep import Split, scores_of
from sdjax.probe.targets import Targets
from sdjax.training.step import TrainState, create_train_state

_CHUNK = 256  # bytes read at once of what comes before the last `max_bytes`


class Store(Protocol):
    """Where a fine-tuning is kept (`folder.Folder`)."""

    def keep(self, best: Tuned) -> None:
        """Save a model that was better on valid than all before."""

    def params_of(self, updates: int) -> dict:
        """Return the parameters that `keep` saved."""

    def save(self, state: TrainState, saved: Saved) -> None:
        """Save all that the next update depends on."""

    def resume(self, state: TrainState) -> tuple[TrainState, Saved] | None:
        """Return what was saved last, None where nothing was."""


def finetune(
    loaded: Loaded,
    targets: Targets,
    train: Labelled,
    valid: Labelled,
    settings: Settings,
    *,
    store: Store,
    log: Callable[[dict], None],
    stopping: Callable[[], bool],
    save_every: int = 200,
    progress: bool = True,
) -> Tuned:
    """Train head and model, or go on with it; return the best epoch on valid.

    Args:
        loaded: the language model.
        targets: the task.
        train, valid: labelled texts; valid chooses the epoch and the thresholds.
        settings: how.
        store: keeps each new best, and where to go on after an interruption.
        log: called with one record an epoch.
        stopping: whether to stop after the update under way.
        save_every: updates; all is also saved after an epoch and before a stop.
        progress: show progress bars on standard error.

    Raises:
        InputError: the features are not finite, or `store` holds something else.
    """
    run = _Run(loaded, targets, settings, progress)
    best = run.resume(store, train)
    if best is None:
        best = run.start(train, valid)
        store.keep(best)
        store.save(run.state, run.saved(best))
        log(_record(best, {}))
    encoded = run.normalisation.encode_all(train.texts)
    one_hot = targets.columns(train.positions).astype(np.float32)
    while (epoch := run.position.epoch) <= settings.epochs:
        if epoch - 1 - best.epoch >= settings.patience:
            break
        for _ in run.updates_of_epoch(encoded, one_hot):
            if stopping():
                break
            if run.position.taken % save_every == 0:
                run.wait()
                store.save(run.state, run.saved(best))
        run.wait()
        if stopping():
            store.save(run.state, run.saved(best))
            break
        tuned_now = run.measure(valid, epoch)
        log(_record(tuned_now, run.position.sums()))
        if (tuned_now.score, -tuned_now.loss) > (best.score, -best.loss):
            best = tuned_now
            store.keep(best)
        run.position = run.position.next_epoch()
        store.save(run.state, run.saved(best))
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
        self.link, self._pending = link, []
        self.position = Position()
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
        standard = Standard(mean, np.where(scale > 0, scale, 1).astype("f4"))
        found = self.features(self.loaded.params, valid.texts)
        scaled = [(x - mean) / standard.scale for x in (features, found)]
        valid_one_hot = self.targets.columns(valid.positions)
        head = first_head(scaled[0], one_hot, scaled[1], valid_one_hot, self.link)
        self._use(self._state(train, head), standard)
        return self.measure(valid, 0, found)

    def resume(self, store: Store, train: Labelled) -> Tuned | None:
        """Go on from what a store holds; None where it holds nothing."""
        columns = self.targets.columns(train.positions).shape[1]
        shape = columns, self.loaded.model.hidden_size
        head = {"coef": np.zeros(shape, "f4"), "intercept": np.zeros(columns, "f4")}
        resumed = store.resume(self._state(train, head))
        if resumed is None:
            return None
        state, saved = resumed
        self._use(state, saved.standard)
        self.position = saved.position
        params = store.params_of(saved.best["updates"])
        return saved.tuned(params, self.targets, self.link)

    def _state(self, train: Labelled, head: dict) -> TrainState:
        settings = self.settings
        steps = settings.epochs * batches_per_epoch(
            self.normalisation.encode_all(train.texts),
            settings.batch_size,
            settings.max_bytes,
        )
        return create_train_state(
            self.loaded.model,
            head_optimizer(
                settings.learning_rate,
                settings.body_ratio,
                int(settings.warmup * steps),
                steps,
            ),
            loss_scale(
                self.loaded.model.precision, initial=2.0**15, growth_interval=500
            ),
            {"body": self.loaded.params, "head": head},
        )

    def _use(self, state: TrainState, standard: Standard) -> None:
        self.state: TrainState = replicate(state, self.devices)
        self.standard = replicate(standard, self.devices)

    def saved(self, best: Tuned) -> Saved:
        """Return what is to be saved beside the train state."""
        return Saved.of(self.position, jax.device_get(self.standard), best)

    def updates_of_epoch(self, encoded, one_hot) -> Iterator[None]:
        """Take the updates of the epoch that are left; yield after each."""
        settings, position = self.settings, self.position
        batches = text_batches(
            encoded,
            settings.batch_size,
            settings.max_bytes,
            settings.seed,
            position.epoch,
        )
        done = list(islice(batches, position.batches))
        with tqdm(
            total=sum(map(len, encoded)),
            initial=sum(_size(batch, encoded) for batch in done),
            desc=f"epoch {position.epoch} of {settings.epochs}",
            unit="ch",
            unit_scale=True,
            disable=not self.progress,
        ) as bar:
            for batch in batches:
                metrics = self.update(batch, one_hot[batch.rows])
                self._pending.append((metrics, _size(batch, encoded), bar))
                self.wait(2)
                yield
            self.wait()

    def wait(self, keep: int = 0) -> None:
        """Wait until at most `keep` updates are under way; count the others."""
        while len(self._pending) > keep:
            metrics, size, bar = self._pending.pop(0)
            metrics = jax.device_get(metrics)
            self.position.add(metrics)
            bar.set_postfix(loss=f"{metrics.loss:.3f}", refresh=False)
            bar.update(size)

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
        self.position.taken += 1
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
            self.position.taken - self.position.skipped,
            scores_of(self.targets, saved, split)[self.targets.criterion],
            log_loss(saved, split),
        )


def _size(batch: TextBatch, encoded) -> int:
    """Return how many bytes the texts of a batch have."""
    return sum(len(encoded[row]) for row in batch.rows[batch.weights > 0])
