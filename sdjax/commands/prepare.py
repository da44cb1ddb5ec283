"""Write a corpus from reviews: deduplicated, shuffled, split into shards."""

import sys
from pathlib import Path

from sdjax.arguments import three
from sdjax.commands.reading import add_reading, open_texts, refuse_reading
from sdjax.commands.spark_table import add_engine, master_of, refuse_master
from sdjax.data.text import CLEANINGS, CODECS
from sdjax.errors import InputError
from sdjax.ranges import COUNT, FRACTION, MOST_WORKERS, SEED, SIGNED_SEED, add_number
from sdjax.terminal import show

_REVIEWS = 60_000
_BAD_FRACTION = 0.01


def add_arguments(parser) -> None:
    parser.add_argument(
        "source",
        nargs="+",
        help="files, folders or patterns ('data/*.jsonl.gz') of any format that"
        " docs/data.md names, compressed or not; archive.zip::member; - for standard"
        " input; or tfds:NAME[:SPLIT], hf:NAME[:SPLIT]; or synthetic",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    add_reading(parser)
    parser.add_argument(
        "--shards", type=three, default=(1000, 1, 1), help="shards of train/valid/test"
    )
    shuffle = "seed of the shuffle and the split"
    add_number(parser, "--seed", int, SIGNED_SEED, shuffle, default=0)
    parser.add_argument("--strip-tags", action="store_true", help="remove HTML tags")
    parser.add_argument(
        "--normalise",
        default="review",
        choices=CLEANINGS,
        help="none: use the bytes unchanged, without unescaping, stripping or framing;"
        " openai: as review, but carriage returns stay",
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
    add_engine(parser, "write the same corpus")
    processes = "processes; default: one per core, fewer for a small input"
    add_number(parser, "--workers", int, MOST_WORKERS, processes)
    unusable = f"fail if more of the rows is unusable; default: {_BAD_FRACTION}"
    add_number(parser, "--max-bad-fraction", float, FRACTION, unusable)
    reviews = f"number of synthetic reviews; default: {_REVIEWS:,}"
    add_number(parser, "--reviews", int, COUNT, reviews)


def run(arguments) -> None:
    from sdjax.data.read_report import ReadReport
    from sdjax.data.text import Normalisation
    from sdjax.prepare import pipeline
    from sdjax.prepare.blocks import blocks
    from sdjax.prepare.plan import Plan

    _refuse_unread(arguments)
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
        "max_bad_fraction": _or(arguments.max_bad_fraction, _BAD_FRACTION),
    }
    if arguments.source == ["synthetic"]:
        made = _synthetic(arguments, options)
    else:
        opened = open_texts(arguments, arguments.source)
        if arguments.codec != "protein" and opened.sequences:
            show(
                f"note: {opened.sequences} holds sequences, which are read as text; if"
                " they are proteins, give --codec protein",
                file=sys.stderr,
            )
        options |= {"unchanged": opened.watch(), "source": opened.describe()}
        if arguments.engine == "spark":
            from sdjax.prepare import spark

            master = master_of(arguments)
            made = spark.prepare(opened.parts, arguments.out, master=master, **options)
        else:
            made = pipeline.prepare_blocks(
                blocks(opened.parts, report),
                arguments.out,
                workers=arguments.workers or _useful_workers(opened.parts),
                **options,
            )
    if report.read:
        show(report.summary())
        show(f"exact duplicates dropped: {made.manifest['duplicates']:,}")
    for split, shards in made.shards.items():
        reviews, size = sum(s.reviews for s in shards), sum(s.bytes for s in shards)
        count = len(shards)
        show(f"{split:<6}{reviews:>12,} reviews{size:>16,} bytes{count:>6} shards")


def _refuse_unread(arguments) -> None:
    """Refuse options that the source, or the engine, does not read.

    Raises:
        InputError: names the first one that is given.
    """
    refuse_master(arguments)
    synthetic, spark = arguments.source == ["synthetic"], arguments.engine == "spark"
    no_files = "synthetic reviews are not read from a file"
    for name, unread, why in (
        ("reviews", not synthetic, "is of the source 'synthetic'"),
        ("max_bad_fraction", synthetic, no_files),
        ("workers", spark, "is of --engine embedded; --spark-master local[N] has N"),
    ):
        value = getattr(arguments, name)
        if unread and value is not None:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} {value}: {why}; leave it out")
    if synthetic:
        refuse_reading(arguments, no_files)


def _or(value, default):
    return default if value is None else value


def _synthetic(arguments, options: dict):
    from sdjax.data import sources
    from sdjax.prepare import pipeline, synthetic
    from sdjax.prepare.blocks import blocks_of

    if arguments.engine == "spark":
        raise InputError("the synthetic corpus cannot be made with --engine spark")
    count = _or(arguments.reviews, _REVIEWS)
    if arguments.seed not in SEED:
        raise InputError(f"--seed {arguments.seed}: for synthetic reviews it is {SEED}")
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


def _useful_workers(parts) -> int:
    """Return one worker per core, but no more than there are blocks to read."""
    from sdjax.data.parts import File
    from sdjax.prepare.blocks import BLOCK_BYTES
    from sdjax.prepare.workers import cores

    sizes = (part.size for part in parts if isinstance(part, File))
    return min(cores(), 1 + sum(sizes) // BLOCK_BYTES)
