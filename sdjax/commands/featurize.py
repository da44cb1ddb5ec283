"""Write the features of texts: states of a trained model, a row for each text.

    sdjax featurize --checkpoint runs/quickstart --input texts.csv \\
        --text-key sentence --label-key label --output features/train.npz

The input is any file that `sdjax prepare` reads, or `--split` of a prepared corpus; it
may be larger than memory. The output is .npz, .npy (to be mapped into memory, with its
ids, labels, texts and metadata beside it) or .parquet. Rows that cannot be used are
counted and left out. The same command given again after a crash goes on.
"""

import argparse
import sys
from pathlib import Path

from sdjax.arguments import add_normalise
from sdjax.data.text import CLEANINGS
from sdjax.errors import InputError, naming
from sdjax.features import columns
from sdjax.locks import locked


def add_arguments(parser) -> None:
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, metavar="RUN")
    add("--input", required=True, help="file, tfds:NAME or corpus folder")
    add("--text-key", metavar="KEY", help="column or key of the text")
    add(
        "--label-key",
        nargs="+",
        metavar="KEY",
        help="column or key of the label (a number), or several of them",
    )
    add("--id-key", metavar="KEY", help="column or key of an id to keep")
    add("--split", help="of a corpus folder: train, valid or test")
    add("--output", type=Path, required=True, metavar="FILE")
    add("--state", default="cell", choices=columns.STATES)
    add(
        "--pooling",
        nargs="+",
        default=["last"],
        choices=columns.POOLING_NAMES,
        metavar="KIND",
        help=f"{', '.join(columns.POOLINGS)}; several are put side by side, each of"
        " --state or of its own: hidden:mean",
    )
    add(
        "--layers",
        default="last",
        choices=columns.LAYERS,
        help="of a stack of layers: the last one's state, or all side by side",
    )
    add("--batch-size", type=int, default=64, help="texts at once, over all devices")
    add_normalise(parser, CLEANINGS)
    add("--precision", help="compute in fp32, bf16 or fp16")
    add(
        "--max-bad-fraction",
        type=float,
        default=0.01,
        help="of rows; above it the file is written and the exit status is 2",
    )
    add("--restart", action="store_true", help="forget what an earlier run has done")


def open_input(arguments: argparse.Namespace, report):
    """Return the examples of a file or of a split of a corpus, and what it is."""
    from sdjax.data import sources
    from sdjax.data.corpus import Corpus

    labels = arguments.label_key or [None]
    keys = {
        "text_key": arguments.text_key,
        "label_key": labels[0] if len(labels) == 1 else labels,
    }
    if not Path(arguments.input).is_dir():
        described = sources.describe(arguments.input, **keys)
        described["id_key"] = keys["id_key"] = arguments.id_key
        return sources.read_examples(arguments.input, report=report, **keys), described
    corpus, split = Corpus.open(arguments.input), arguments.split
    if split not in corpus.shards:
        raise InputError(
            f"--split {split or 'not given'}: {arguments.input} is a corpus, which has"
            f" {', '.join(corpus.shards)}"
        )
    if arguments.id_key:
        raise InputError(f"--id-key {arguments.id_key}: a corpus keeps no ids")
    reviews = sum(shard.reviews for shard in corpus.shards[split])
    examples = sources.counted(corpus.examples(split), reviews, report)
    return examples, {"corpus": corpus.fingerprint, "split": split}


def run(arguments) -> None:
    from sdjax.features import storage

    output = arguments.output
    storage.check_suffix(output)
    with naming(output):  # before minutes of work
        output.parent.mkdir(parents=True, exist_ok=True)
        refusal = (
            f"--output {output} is in use: another process writes it; wait for it, or"
            " give another file"
        )
        lock = locked(output.with_name(f".{output.name}.lock"), refusal)
    with lock:
        _featurize(arguments)


def _featurize(arguments) -> None:
    from sdjax.data.read_report import ReadReport
    from sdjax.features import bulk
    from sdjax.features.featurizer import TextFeaturizer
    from sdjax.features.partial import FeatureWork

    output, report = arguments.output, ReadReport()
    examples, described = open_input(arguments, report)
    featurizer = TextFeaturizer.from_pretrained(
        arguments.checkpoint,
        state=arguments.state,
        pooling=arguments.pooling,
        layers=arguments.layers,
        batch_size=arguments.batch_size,
        normalise=arguments.normalise,
        precision=arguments.precision,
    )
    origin = featurizer.metadata()
    place = ("checkpoint", "step")  # the same parameters may be kept elsewhere
    identity = {k: v for k, v in origin.items() if k not in place} | described
    work = FeatureWork(
        output,
        identity,
        width=featurizer.width,
        label_count=len(arguments.label_key or [None]),
        has_ids=bool(arguments.id_key),
        restart=arguments.restart,
    )
    if work.rows:
        print(f"{work.rows:,} of the texts are done; going on", file=sys.stderr)
    bulk.featurize(featurizer, examples, work, report)
    print(report.summary(), file=sys.stderr)
    report.check(max_bad_fraction=1.0)  # at least one text
    rows = work.rows
    counts = {
        "input": arguments.input,
        "label_keys": arguments.label_key,
        "skipped": report.as_json()["skipped"],
    }
    work.finish(origin | counts)
    print(f"{output}: {rows:,} texts x {featurizer.width:,} features")
    report.check(arguments.max_bad_fraction)
