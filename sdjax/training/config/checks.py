"""Which values of the keys no run can use."""

from ml_collections import ConfigDict

from sdjax.data.windows import CARRIES
from sdjax.errors import InputError
from sdjax.model.precision import MATMUL_PRECISIONS
from sdjax.ranges import COUNT, COUNT_OR_NONE, NOT_NEGATIVE, POSITIVE, SEED, Range

_BELOW_1 = Range(0, 1 - 2**-24)  # the largest float32 below 1
_RANGES = {
    "model.hidden_size": COUNT,
    "model.embedding_size": COUNT,
    "model.num_layers": COUNT,
    "model.vocabulary_size": COUNT,
    "global_batch_size": COUNT,
    "window_size": COUNT,
    "train_epochs": POSITIVE,
    "log_every_steps": COUNT,
    "checkpoint_every_steps": COUNT,
    "keep_last_checkpoints": COUNT,
    "eval_batch_size": COUNT,
    "base_learning_rate": POSITIVE,
    "max_learning_rate": POSITIVE,
    "clip_norm": POSITIVE,
    "max_overflows": COUNT,
    "train_steps": COUNT_OR_NONE,
    "warmup_steps": COUNT_OR_NONE,
    "decay_steps": COUNT_OR_NONE,
    "keep_every_steps": COUNT_OR_NONE,
    "seed": SEED,
    "adam_b1": _BELOW_1,
    "adam_b2": _BELOW_1,
    "adam_eps": Range(1e-37, 1),  # what is smaller is 0 in float32
}


def check(config: ConfigDict) -> None:
    """Refuse values that no run can use.

    Raises:
        InputError: names the key, its value and what is allowed.
    """
    for key, allowed in _RANGES.items():
        # A key of the model may be left open.
        if config[key] is not None and config[key] not in allowed:
            raise InputError(f"config.{key} is {config[key]}: it must be {allowed}")
    for key, choices in {
        "carry": CARRIES,
        "master_params": ("device", "host"),
        "all_reduce_dtype": ("fp32", "compute"),
        "matmul_precision": MATMUL_PRECISIONS,
    }.items():
        if config[key] not in choices:
            raise InputError(
                f"config.{key} is {config[key]!r}: use {' or '.join(choices)}"
            )
    span = config.model.memory_span
    if span not in NOT_NEGATIVE or 0 < span <= 1:
        raise InputError(f"config.model.memory_span is {span}: use 0, or bytes above 1")


def rows_of_each(config: ConfigDict, devices: int) -> int:
    """Return how many rows of the global batch a device has."""
    rows, left_over = divmod(config.global_batch_size, devices)
    if left_over:
        raise InputError(
            f"global_batch_size {config.global_batch_size} cannot be spread over"
            f" {devices} devices: use a multiple of {devices}"
        )
    return rows
