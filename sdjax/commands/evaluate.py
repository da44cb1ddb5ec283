"""Measure bits per character of a checkpoint on a split of a corpus."""

import math
import sys
from pathlib import Path

from sdjax.errors import InputError
from sdjax.ranges import COUNT, add_number
from sdjax.terminal import show

# For converted models, which have no training config; the values of the default config.
_CONVERTED = {"eval_batch_size": 64, "window_size": 256}


def add_arguments(parser) -> None:
    parser.add_argument(
        "checkpoint", type=Path, help="a run's folder or one checkpoint"
    )
    parser.add_argument("--corpus", type=Path, required=True, metavar="DIR")
    parser.add_argument("--split", default="valid", choices=("train", "valid", "test"))
    parser.add_argument("--precision", help="compute in fp32, bf16 or fp16")
    rows = "rows at once; default: as in training"
    add_number(parser, "--batch-size", int, COUNT, rows)
    parser.add_argument(
        "--compressors",
        action="store_true",
        help="also compress the split with gzip, bzip2 and xz at level 9",
    )


def run(arguments) -> None:
    from sdjax.checkpoints.load import load_model
    from sdjax.checkpoints.meta import OLDER_STREAM
    from sdjax.data.corpus import Corpus
    from sdjax.data.windows import Windows
    from sdjax.training.evaluate import bits_by_compressor, evaluator

    corpus = Corpus.open(arguments.corpus)
    loaded = load_model(arguments.checkpoint, arguments.precision)
    trained_on = loaded.meta.normalisation
    codec = trained_on.codec
    if corpus.normalisation.codec != codec:
        raise InputError(
            f"{arguments.corpus} is of the codec {corpus.normalisation.codec}, but the"
            f" model reads {codec}: give a corpus prepared with --codec {codec}"
        )
    if corpus.normalisation != trained_on:
        show(
            "warning: the corpus was normalised with"
            f" {corpus.normalisation.as_json()}, the training text of the model with"
            f" {trained_on.as_json()}",
            file=sys.stderr,
        )
    trained = {key: _known(loaded, key) for key in _CONVERTED}
    rows = arguments.batch_size or trained["eval_batch_size"]
    windows = Windows(
        corpus,
        arguments.split,
        batch_size=rows,
        window_size=trained["window_size"],
        shuffle=False,
        carry=(OLDER_STREAM | loaded.meta.config)["carry"],
    )
    bpc = evaluator(loaded.model, windows, rows)(loaded.params)
    if not math.isfinite(bpc):
        raise InputError(
            f"{loaded.path}: bits per character on {arguments.split} are {bpc}: the"
            f" model overflows in {loaded.model.precision}; give --precision fp32"
        )
    show(f"checkpoint           {loaded.path}")
    show(f"bytes predicted      {windows.bytes_per_epoch:,} of {arguments.split}")
    show(f"bits per character   {bpc:.4f}")
    if arguments.compressors:
        shards = range(len(corpus.shards[arguments.split]))
        data = b"".join(corpus.read(arguments.split, i).tobytes() for i in shards)
        for name, bits in bits_by_compressor(data).items():
            show(f"{name:<20} {bits:.4f}")


def _known(loaded, key: str) -> int:
    """Return what the training config of a checkpoint says, or the default.

    Raises:
        InputError: it says something that cannot be.
    """
    value = loaded.meta.config.get(key, _CONVERTED[key])
    if not isinstance(value, int) or value not in COUNT:
        raise InputError(
            f"checkpoint {loaded.path}: {key} is {value!r} in its config, expected"
            f" {COUNT}"
        )
    return value
