"""Which values of the keys no run can use. Not a config itself."""

from ml_collections import ConfigDict

from sdjax.data.text import VOCABULARY_SIZES
from sdjax.errors import InputError
from sdjax.model.precision import MATMUL_PRECISIONS


def check(config: ConfigDict) -> None:
    """Refuse values that no run can use."""
    positive = (
        "model.hidden_size",
        "model.embedding_size",
        "model.num_layers",
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
        if not config[key] > 0:
            raise InputError(f"config.{key} is {config[key]}: it must be above 0")
    not_negative = (
        "model.vocabulary_size",
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
    if config.codec not in VOCABULARY_SIZES:
        raise InputError(
            f"config.codec {config.codec!r} does not exist: use one of"
            f" {list(VOCABULARY_SIZES)}"
        )
    least = VOCABULARY_SIZES[config.codec]
    if (size := config.model.vocabulary_size) and size < least:
        raise InputError(
            f"config.model.vocabulary_size is {size}: the codec {config.codec} has"
            f" {least} symbols; use 0 for as many"
        )
    if 0 < (span := config.model.memory_span) <= 1 or span < 0:
        raise InputError(f"config.model.memory_span is {span}: use 0, or bytes above 1")


def check_codec(config: ConfigDict, of_corpus: str) -> None:
    """Refuse a corpus of other symbols than those that the config says."""
    if of_corpus != config.codec:
        raise InputError(
            f"config.codec is {config.codec!r}, {config.corpus} was prepared with"
            f" --codec {of_corpus}: use that"
        )


def rows_of_each(config: ConfigDict, devices: int) -> int:
    """Return how many rows of the global batch a device has."""
    rows, left_over = divmod(config.global_batch_size, devices)
    if left_over:
        raise InputError(
            f"global_batch_size {config.global_batch_size} cannot be spread over"
            f" {devices} devices: use a multiple of {devices}"
        )
    return rows
