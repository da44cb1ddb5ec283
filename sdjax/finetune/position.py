"""Where a fine-tuning is: all that the next update, and the best so far, depend on."""

from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import numpy as np

from sdjax.finetune.step import Standard
from sdjax.model.classifier import Classifier
from sdjax.probe.targets import Targets
from sdjax.training.metrics import bits_per_character


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


@dataclass
class Position:
    """The next batch, and sums since the epoch began.

    Args:
        epoch: under way, from 1.
        batches: of this epoch that are done.
        taken: updates taken, skipped ones included.
        skipped: of them, because the gradient was not finite.
        loss: sum of the finite losses of the head in this epoch, and how many.
        nats, predicted: of the language model in this epoch.
    """

    epoch: int = 1
    batches: int = 0
    taken: int = 0
    skipped: int = 0
    loss: float = 0.0
    losses: int = 0
    nats: float = 0.0
    predicted: int = 0

    def add(self, metrics) -> None:
        """Add one update's `HeadMetrics`, already on the host."""
        self.batches += 1
        self.skipped += int(metrics.skipped)
        if np.isfinite(metrics.loss):
            self.loss += float(metrics.loss)
            self.losses += 1
        self.nats += float(metrics.nats)
        self.predicted += int(metrics.predicted)

    def sums(self) -> dict:
        """Return what the epoch so far came to."""
        return {
            "train_loss": self.loss / self.losses if self.losses else float("nan"),
            "train_bpc": bits_per_character(self.nats, self.predicted),
            "skipped": self.skipped,
        }

    def next_epoch(self) -> "Position":
        """Return the position after the last batch of an epoch."""
        return Position(self.epoch + 1, 0, self.taken, self.skipped)


@dataclass
class Saved:
    """A position with what else is no array of the train state.

    Floats are as exact in JSON as in memory.
    """

    position: Position
    standard: Standard
    best: dict = field(default_factory=dict)

    @classmethod
    def of(cls, position: Position, standard: Standard, best: Tuned) -> "Saved":
        """Note the best so far without its parameters, which are a checkpoint."""
        of_best = {key: getattr(best, key) for key in _SCALARS}
        for name in _ARRAYS:
            of_best[name] = getattr(best.classifier, name).tolist()
        return cls(position, standard, of_best)

    def as_json(self) -> dict:
        standard = [np.asarray(x, np.float32).tolist() for x in self.standard]
        return {
            "position": asdict(self.position),
            "standard": standard,
            "best": self.best,
        }

    @classmethod
    def from_json(cls, stored: dict) -> "Saved":
        """Read what `as_json` gave."""
        standard = Standard(*(np.array(x, np.float32) for x in stored["standard"]))
        return cls(Position(**stored["position"]), standard, stored["best"])

    def tuned(self, params: dict, targets: Targets, link: str) -> Tuned:
        """Return the best so far, with the parameters of its checkpoint."""
        arrays = {name: np.array(self.best[name], np.float64) for name in _ARRAYS}
        classifier = Classifier(
            task=targets.task, classes=targets.classes, link=link, **arrays
        )
        return Tuned(params, classifier, **{key: self.best[key] for key in _SCALARS})


_SCALARS = ("epoch", "updates", "score", "loss")
_ARRAYS = ("coef", "intercept", "thresholds")
