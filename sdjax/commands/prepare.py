"""Write a corpus from reviews: deduplicated, shuffled, split into shards."""

from pathlib import Path

from sdjax.arguments import three
from sdjax.data.text import CLEANINGS, CODECS
from sdjax.errors import InputError


def add_arguments(parser) -> None:
    parser.add_argument(
        "source",
        nargs="+",
        help="files or patterns ('data/*.jsonl.gz'): .jsonl, .json, .csv, .txt, plain,"
        " .gz or .zst, and .parquet; or tfds:NAME[:SPLIT]; or synthetic",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--text-key", help="key or column of the text")
    parser.add_argument("--label-key", help="key or column of a numeric label")
    parser.add_argument(
        "--shards", type=three, default=(1000, 1, 1), help="shards of train/valid/test"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the shuffle and the split"
    )
    parser.add_argument("--strip-tags", action="store_true", help="remove HTML tags")
    parser.add_argument(
        "--normalise",
        default="review",
        choices=CLEANINGS,
        help="none: use the bytes unchanged, without unescaping, stripping or framing",
    )
    parser.add_argument(
        "--codec",
        default="bytes",
        choices=CODECS,
        help="protein: sequences of amino acids, one symbol per amino acid",
    )
    parser.add_argument(
        "--split",
        default="shuffled",
        choices=("shuffled", "contiguous"),
        help="contiguous: valid and test are contiguous parts of the input",
    )
    parser.add_argument(
        "--dedup",
        default="exact",
        choices=("exact", "none"),
        help="none: keep duplicates",
    )
    parser.add_argument(
        "--engine",
        default="embedded",
        choices=("embedded", "spark"),
        help="spark: write the same corpus with a Spark cluster",
    )
    parser.add_argument(
        "--spark-master",
        default="local[*]",
        help="cluster for --engine spark",
        metavar="URL",
    )
    parser.add_argument(
        "--workers",
        type=int,
        help="processes; default: one per core, fewer for a small input",
    )
    parser.add_argument(
        "--max-bad-fraction",
        type=float,
        default=0.01,
        help="fail if a larger fraction of the rows is unusable",
    )
    parser.add_argument(
        "--reviews", type=int, default=60_000, help="number of synthetic reviews"
    )


def run(arguments) -> None:
    from sdjax.data import sources
    from sdjax.data.read_report import ReadReport
    from sdjax.data.text import Normalisation
    from sdjax.prepare import pipeline
    from sdjax.prepare.blocks import blocks
    from sdjax.prepare.plan import Plan

    report = ReadReport()
    plan = Plan(
        shards=arguments.shards,
        seed=arguments.seed,
        normalisation=Normalisation(
            arguments.strip_tags, arguments.normalise, arguments.codec
        ),
        split=arguments.split,
        dedup=arguments.dedup,
    )
    options = {
        "report": report,
        "plan": plan,
        "max_bad_fraction": arguments.max_bad_fraction,
    }
    if arguments.source == ["synthetic"]:
        made = _synthetic(arguments, options)
    else:
        names = sources.expand(arguments.source)
        keys = {"text_key": arguments.text_key, "label_key": arguments.label_key}
        options["source"] = sources.describe(names, **keys)
        opened = [sources.open_source(name, **keys) for name in names]
        if arguments.engine == "spark":
            from sdjax.prepare import spark

            made = spark.prepare(
                opened, arguments.out, master=arguments.spark_master, **options
            )
        else:
            made = pipeline.prepare_blocks(
                blocks(opened, report),
                arguments.out,
                workers=arguments.workers or _useful_workers(opened),
                **options,
            )
    if report.read:
        print(report.summary())
        print(f"exact duplicates dropped: {made.manifest['duplicates']:,}")
    for split, shards in made.shards.items():
        reviews, size = sum(s.reviews for s in shards), sum(s.bytes for s in shards)
        count = len(shards)
        print(f"{split:<6}{reviews:>12,} reviews{size:>16,} bytes{count:>6} shards")


def _synthetic(arguments, options: dict):
    from sdjax.data import sources
    from sdjax.prepare import pipeline, synthetic
    from sdjax.prepare.blocks import blocks_of

    if arguments.engine == "spark":
        raise InputError("the synthetic corpus cannot be made with --engine spark")
    count = arguments.reviews
    return pipeline.prepare_blocks(
        blocks_of(
            sources.counted(
                synthetic.reviews(count, arguments.seed), count, options["report"]
            )
        ),
        arguments.out,
        source={"name": "synthetic", "reviews": count},
        workers=arguments.workers or 1,
        **options,
    )


def _useful_workers(opened) -> int:
    """Return one worker per core, but no more than there are blocks to read."""
    import os

    from sdjax.data.sources import File
    from sdjax.prepare.blocks import BLOCK_BYTES

    sizes = (s.path.stat().st_size for s in opened if isinstance(s, File))
    return min(len(os.sched_getaffinity(0)), 1 + sum(sizes) // BLOCK_BYTES)
