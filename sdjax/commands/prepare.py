"""Turn reviews into a corpus on disk."""

from pathlib import Path

from sdjax.commands.arguments import three


def add_arguments(parser) -> None:
    parser.add_argument(
        "source",
        help="a .jsonl, .json, .csv or .txt file, plain or .gz; tfds:NAME[:SPLIT];"
        " or synthetic",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--text-key", help="key or column of the text")
    parser.add_argument("--label-key", help="key or column of a numeric label")
    parser.add_argument(
        "--shards", type=three, default=(1000, 1, 1), help="train/valid/test"
    )
    parser.add_argument("--seed", type=int, default=0, help="of shuffle and split")
    parser.add_argument("--strip-tags", action="store_true", help="remove HTML tags")
    parser.add_argument("--max-bad-fraction", type=float, default=0.01)
    parser.add_argument(
        "--reviews", type=int, default=60_000, help="synthetic: how many"
    )


def run(arguments) -> None:
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
