"""How to fine-tune: every number with its range."""

from dataclasses import dataclass, fields

from sdjax.errors import InputError
from sdjax.ranges import COUNT, NOT_NEGATIVE, POSITIVE, SEED, Range

RANGES = {
    "epochs": COUNT,
    "patience": COUNT,
    "batch_size": COUNT,
    "max_bytes": Range(2, COUNT.most),
    "learning_rate": POSITIVE,
    "body_ratio": NOT_NEGATIVE,
    "warmup": Range(0, 1, below=True),
    "lm_weight": NOT_NEGATIVE,
    "seed": SEED,
}


@dataclass(frozen=True)
class Settings:
    """How to fine-tune.

    Args:
        epochs: over the training texts at most.
        patience: epochs without a better score on valid before it stops.
        batch_size: texts per update, over all devices.
        max_bytes: of the end of each text that the gradient goes back through; what
            comes before is read without a gradient.
        learning_rate: peak rate of the head.
        body_ratio: the language model's rate is this part of it.
        warmup: part of all updates in which the rate grows.
        lm_weight: of the language model's loss (nats per byte) beside the head's.
        seed: of the order of texts.

    Raises:
        InputError: a value that nothing can be trained with.
    """

    epochs: int = 3
    patience: int = 2
    batch_size: int = 32
    max_bytes: int = 512
    learning_rate: float = 1e-3
    body_ratio: float = 0.3
    warmup: float = 0.1
    lm_weight: float = 0.1
    seed: int = 0

    def __post_init__(self):
        for name, allowed in RANGES.items():
            if (value := getattr(self, name)) not in allowed:
                raise InputError(f"{name} is {value}: it must be {allowed}")


DEFAULTS = {field.name: field.default for field in fields(Settings)}
