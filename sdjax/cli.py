"""The `sdjax` command: each subcommand is a few lines over a library function."""

import argparse
import sys
from pathlib import Path

from sdjax import errors
from sdjax.errors import InputError

# Parts of the report that take the model as well as its features.
_NEED_CHECKPOINT = (
    "bits_per_character",
    "training_curve",
    "probe_points",
    "coloured_texts",
)

# Subcommands import what they need: `sdjax prepare` must not wait for jax.


def main() -> None:
    sys.exit(errors.run(_run))


def _run() -> None:
    arguments = _parser().parse_args()
    arguments.command(arguments)


def _parser() -> errors.ArgumentParser:
    parser = errors.ArgumentParser(prog="sdjax", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(function) -> errors.ArgumentParser:
        name, help_text = function.__name__.strip("_"), function.__doc__
        sub = commands.add_parser(name, help=help_text, description=help_text)
        sub.set_defaults(command=function)
        return sub

    sub = command(_prepare)
    sub.add_argument(
        "source",
        help="a .jsonl, .json, .csv or .txt file, plain or .gz; tfds:NAME[:SPLIT];"
        " or synthetic",
    )
    sub.add_argument("--out", type=Path, required=True, metavar="DIR")
    sub.add_argument("--text-key", help="key or column of the text")
    sub.add_argument("--label-key", help="key or column of a numeric label")
    sub.add_argument(
        "--shards", type=_three, default=(1000, 1, 1), help="train/valid/test"
    )
    sub.add_argument("--seed", type=int, default=0, help="of shuffle and split")
    sub.add_argument("--strip-tags", action="store_true", help="remove HTML tags")
    sub.add_argument("--max-bad-fraction", type=float, default=0.01)
    sub.add_argument("--reviews", type=int, default=60_000, help="synthetic: how many")

    sub = command(_labelled)
    sub.add_argument("--out", type=Path, required=True, metavar="DIR")
    sub.add_argument(
        "--counts", type=_three, default=(2000, 500, 500), help="train/valid/test"
    )
    sub.add_argument("--seed", type=int, default=0)

    sub = command(_evaluate)
    sub.add_argument("checkpoint", type=Path, help="a run's folder or one checkpoint")
    sub.add_argument("--corpus", type=Path, required=True, metavar="DIR")
    sub.add_argument("--split", default="valid", choices=("train", "valid", "test"))
    sub.add_argument("--precision", help="compute in fp32, bf16 or fp16")
    sub.add_argument(
        "--batch-size", type=int, help="rows at once; by default as in training"
    )
    sub.add_argument(
        "--compressors", action="store_true", help="also gzip, bzip2 and xz at -9"
    )

    sub = command(_probe)
    for split in ("train", "valid", "test"):
        sub.add_argument(
            f"--{split}",
            type=Path,
            required=True,
            metavar="FILE.npz",
        )
    sub.add_argument("--out", type=Path, required=True, metavar="DIR")
    sub.add_argument("--workers", type=int, default=-1, help="-1: one per core")
    return parser


def _three(text: str) -> tuple[int, int, int]:
    try:
        first, second, third = (int(part) for part in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not three numbers like 1000/1/1"
        ) from None
    return first, second, third


def _prepare(arguments) -> None:
    """Turn reviews into a corpus on disk."""
    from sdjax import prepare, sources, synthetic
    from sdjax.readreport import ReadReport
    from sdjax.text import Normalisation

    report = ReadReport()
    keys = {"text_key": arguments.text_key, "label_key": arguments.label_key}
    if arguments.source == "synthetic":
        source = {"name": "synthetic", "reviews": arguments.reviews}
        examples = sources.counted(
            synthetic.reviews(arguments.reviews, arguments.seed),
            arguments.reviews,
            report,
        )
    else:
        source = sources.describe(arguments.source, **keys)
        examples = sources.read_examples(arguments.source, report=report, **keys)
    made = prepare.prepare(
        examples,
        arguments.out,
        report=report,
        source=source,
        normalisation=Normalisation(strip_tags=arguments.strip_tags),
        shards=arguments.shards,
        seed=arguments.seed,
        max_bad_fraction=arguments.max_bad_fraction,
    )
    if report.read:
        print(report.summary())
        print(f"exact duplicates dropped: {made.manifest['duplicates']:,}")
    for split, shards in made.shards.items():
        reviews, size = sum(s.reviews for s in shards), sum(s.bytes for s in shards)
        count = len(shards)
        print(f"{split:<6}{reviews:>12,} reviews{size:>16,} bytes{count:>6} shards")


def _labelled(arguments) -> None:
    """Write labelled texts that are new to a model of the synthetic corpus."""
    from sdjax import synthetic

    if min(arguments.counts) < 1:
        raise InputError(f"--counts {arguments.counts}: each must be at least 1")
    with errors.naming(arguments.out):
        paths = synthetic.write_labelled(
            arguments.out, arguments.counts, arguments.seed
        )
    for path in paths.values():
        print(path)


def _evaluate(arguments) -> None:
    """Measure bits per character of a checkpoint on a split of a corpus."""
    from sdjax import compressors
    from sdjax.checkpoint import load_model
    from sdjax.corpus import Corpus
    from sdjax.evaluate import evaluator
    from sdjax.windows import Windows

    if arguments.batch_size is not None and arguments.batch_size < 1:
        raise InputError(f"--batch-size {arguments.batch_size} must be at least 1")
    corpus = Corpus.open(arguments.corpus)
    loaded = load_model(arguments.checkpoint, arguments.precision)
    trained_on = loaded.meta["normalisation"]
    if corpus.normalisation.as_json() != trained_on:
        print(
            f"warning: the corpus is normalised by {corpus.normalisation.as_json()},"
            f" the model was trained on {trained_on}",
            file=sys.stderr,
        )
    rows = arguments.batch_size or loaded.meta["config"]["eval_batch_size"]
    windows = Windows(
        corpus,
        arguments.split,
        batch_size=rows,
        window_size=loaded.meta["config"]["window_size"],
        shuffle=False,
    )
    bpc = evaluator(loaded.model, windows, rows)(loaded.params)
    print(f"checkpoint           {loaded.path}")
    print(f"bytes predicted      {windows.bytes_per_epoch:,} of {arguments.split}")
    print(f"bits per character   {bpc:.4f}")
    if arguments.compressors:
        shards = range(len(corpus.shards[arguments.split]))
        data = b"".join(corpus.read(arguments.split, i).tobytes() for i in shards)
        for name, bits in compressors.bits_per_character(data).items():
            print(f"{name:<20} {bits:.4f}")


def _probe(arguments) -> None:
    """Fit the classifier, find the unit, write the report."""
    from sdjax import analysis, featurefile, page, probe, report
    from sdjax.checkpoint import load_model
    from sdjax.features import TextFeaturizer
    from sdjax.metrics import read_metrics

    paths = {"train": arguments.train, "valid": arguments.valid, "test": arguments.test}
    splits = {name: featurefile.load(path) for name, path in paths.items()}
    report.make_folder(arguments.out)  # before minutes of work
    result = probe.run_probe(*splits.values(), n_jobs=arguments.workers)

    checkpoint = Path(splits["test"].metadata.get("checkpoint", ""))
    given = {}
    try:
        loaded = load_model(checkpoint)
    except InputError as error:
        reason = f"the checkpoint of the features is not there ({error})"
        given["absent"] = dict.fromkeys(_NEED_CHECKPOINT, reason)
    else:
        featurizer = TextFeaturizer.from_loaded(loaded)
        top, run = result.top_unit, analysis.run_of(checkpoint)
        extremes = probe.extreme_examples(splits["test"], top.index, top.sign)
        given["traced"] = tuple(
            analysis.trace_examples(featurizer, splits["test"], rows, top.index)
            for rows in extremes
        )
        given["probe_points"] = analysis.probe_over_training(
            run, splits["train"], splits["test"], result.strength
        )
        given["records"] = read_metrics(run / "metrics.jsonl")
        given["bits_per_character"] = loaded.meta["valid_bpc"]
    written = report.write_report(arguments.out, result, splits, **given)
    for line in page.headline(result, given.get("bits_per_character")):
        print(line)
    print(f"report: {written}")


if __name__ == "__main__":
    main()
