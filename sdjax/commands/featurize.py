"""Write the features of texts: states of a trained model, a row for each text.

    sdjax featurize --checkpoint runs/quickstart --input texts.csv \\
        --text-key sentence --label-key label --output features/train.npz

The input is any file that `sdjax prepare` reads, or `--split` of a prepared corpus; it
may be larger than memory. The output is .npz, .npy (to be mapped into memory, with its
ids, labels, texts and metadata beside it) or .parquet. Rows that cannot be used are
counted and left out. With --units or --keep it is a table instead, with every row of
the input. After a crash the same command resumes.
"""

import argparse
import sys
from pathlib import Path

from sdjax.arguments import add_normalise
from sdjax.commands import feature_table
from sdjax.commands.reading import (
    add_reading,
    labels_of_corpus,
    open_texts,
    refuse_reading,
)
from sdjax.commands.spark_table import add_engine, refuse_unread
from sdjax.commands.tables import add_table, lock_output, refuse_table
from sdjax.data.text import CLEANINGS
from sdjax.errors import InputError
from sdjax.features import columns
from sdjax.ranges import COUNT, FRACTION, add_number
from sdjax.terminal import show


def add_arguments(parser) -> None:
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, metavar="RUN")
    add(
        "--input",
        required=True,
        help="all that sdjax prepare reads, or a corpus folder; - for standard input",
    )
    add_reading(parser, label_by_blanks=True)
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
    add(
        "--no-texts",
        action="store_true",
        help="keep a hash of each text instead of the text",
    )
    at_once = "texts at once, over all devices"
    add_number(parser, "--batch-size", int, COUNT, at_once, default=64)
    add_normalise(parser, CLEANINGS)
    add("--precision", help="compute in fp32, bf16 or fp16")
    add_number(
        parser,
        "--max-bad-fraction",
        float,
        FRACTION,
        "of rows; above it the file is written and the exit status is 2",
        default=0.01,
    )
    add(
        "--keep",
        nargs="*",
        metavar="COLUMN",
        help="write a table, as .parquet, .csv, .tsv or .jsonl, with these columns of"
        " the input before the features; none named: all of them",
    )
    add_table(parser, "write a table with these units alone, a column for each")
    add_engine(parser, "with --units or --keep, write a folder of Parquet files")
    add("--restart", action="store_true", help="forget what an earlier run has done")


def open_input(arguments: argparse.Namespace, report):
    """Return the examples of files or of a split of a corpus, what they are, labels.

    The last thing is a check, for the end, that nothing of it has changed.
    """
    from sdjax.data import sources
    from sdjax.data.corpus import MANIFEST, Corpus

    if not (Path(arguments.input) / MANIFEST).is_file():
        if arguments.split:
            raise InputError(f"--split {arguments.split}: is of a corpus folder")
        opened = open_texts(
            arguments,
            arguments.input,
            id_key=arguments.id_key,
            writes=[arguments.output],
        )
        unchanged = opened.watch()
        described = opened.describe() | {"id_key": arguments.id_key}
        labels = {"label_keys": list(opened.label_keys) or None}
        labels["classes"] = opened.classes
        return opened.examples(report), described, labels, unchanged
    corpus, split = Corpus.open(arguments.input), arguments.split
    if split not in corpus.shards:
        raise InputError(
            f"--split {split or 'not given'}: {arguments.input} is a corpus, which has"
            f" {', '.join(corpus.shards)}"
        )
    if arguments.id_key:
        raise InputError(f"--id-key {arguments.id_key}: a corpus keeps no ids")
    refuse_reading(arguments, "a corpus is read as it was prepared", ["label_key"])
    keys = labels_of_corpus(arguments, corpus)
    reviews = sum(shard.reviews for shard in corpus.shards[split])
    examples = sources.counted(corpus.examples(split, keys), reviews, report)
    if keys is None and len(corpus.label_keys) > 1:
        keys = corpus.label_keys
    described = {"corpus": corpus.fingerprint, "split": split}
    labels = {"label_keys": None, "classes": corpus.classes}
    if keys is not None:
        described["label_key"] = list(keys)
        one = keys[0] if len(keys) == 1 else None
        labels = {"label_keys": list(keys), "classes": corpus.classes_of(one)}
    return examples, described, labels, lambda: None  # its shards have digests


def run(arguments) -> None:
    if feature_table.is_wanted(arguments):
        feature_table.run(arguments)
        return
    refuse_table(arguments, "is of a table: give --units or --keep, too")
    if arguments.engine == "spark":
        raise InputError("--engine spark writes a table: give --units or --keep, too")
    refuse_unread(arguments, ())
    from sdjax.features import storage

    storage.check_suffix(arguments.output)
    with lock_output(arguments.output):
        _featurize(arguments)


def _featurize(arguments) -> None:
    from sdjax.data.read_report import ReadReport
    from sdjax.features import bulk
    from sdjax.features.featurizer import TextFeaturizer
    from sdjax.features.partial import FeatureWork

    output, report = arguments.output, ReadReport()
    examples, described, labels, unchanged = open_input(arguments, report)
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
    identity = featurizer.identity() | described
    identity |= {"texts": "hashes"} if arguments.no_texts else {}
    work = FeatureWork(
        output,
        identity,
        width=featurizer.width,
        label_count=len(labels["label_keys"] or [None]),
        has_ids=bool(arguments.id_key),
        keeps_texts=not arguments.no_texts,
        restart=arguments.restart,
    )
    if work.rows:
        show(f"{work.rows:,} texts are done already; resuming", file=sys.stderr)
    bulk.featurize(featurizer, examples, work, report)
    show(report.summary(), file=sys.stderr)
    report.check(max_bad_fraction=1.0)  # at least one text
    unchanged()
    rows = work.rows
    counts = {
        "input": arguments.input,
        **labels,
        "skipped": report.as_json()["skipped"],
    }
    work.finish(origin | counts)
    show(f"{output}: {rows:,} texts x {featurizer.width:,} features")
    report.check(arguments.max_bad_fraction)
