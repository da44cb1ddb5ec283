"""Which values of the keys no run can use."""

from ml_collections import ConfigDict

from sdjax.errors import InputError
from sdjax.model.precision import MATMUL_PRECISIONS


def check(config: ConfigDict) -> None:
    """Refuse values that no run can use."""
    positive = (
        "model.hidden_size",
        "model.embedding_size",
        "model.num_layers",
        "model.vocabulary_size",
        "global_batch_size",
        "window_size",
        "train_epochs",
        "log_every_steps",
        "checkpoint_every_steps",
        "keep_last_checkpoints",
        "eval_batch_size",
        "base_learning_rate",
        "max_learning_rate",
        "clip_norm",
        "max_overflows",
    )
    for key in positive:
        # A key of the model may be left open.
        if config[key] is not None and not config[key] > 0:
            raise InputError(f"config.{key} is {config[key]}: it must be above 0")
    not_negative = (
        "train_steps",
        "warmup_steps",
        "decay_steps",
        "keep_every_steps",
        "seed",
    )
    for key in not_negative:
        if config[key] < 0:
            raise InputError(f"config.{key} is {config[key]}: it must be 0 or above")
    for key, choices in {
        "master_params": ("device", "host"),
        "all_reduce_dtype": ("fp32", "compute"),
        "matmul_precision": MATMUL_PRECISIONS,
    }.items():
        if config[key] not in choices:
            raise InputError(
                f"config.{key} is {config[key]!r}: use {' or '.join(choices)}"
            )
    if 0 < (span := config.model.memory_span) <= 1 or span < 0:
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
