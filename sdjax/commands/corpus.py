"""Show statistics of a corpus, and verify its files."""

from pathlib import Path

from sdjax.errors import InputError


def add_arguments(parser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    show = actions.add_parser(
        "show", help="counts, lengths and most common bytes of every split"
    )
    show.add_argument("folder", type=Path, metavar="DIR")
    show.add_argument(
        "--verify", action="store_true", help="check the checksum of every file"
    )
    show.add_argument(
        "--figure", type=Path, metavar="FILE.png", help="draw the review lengths"
    )


def run(arguments) -> None:
    from sdjax.data import stats
    from sdjax.data.corpus import Corpus

    if arguments.figure is not None and arguments.figure.suffix != ".png":
        raise InputError(f"--figure {arguments.figure} must end in .png")
    corpus = Corpus.open(arguments.folder)
    if arguments.verify:
        corpus.verify(progress=True)
    counted = {
        split: stats.measure(corpus, split, progress=True) for split in corpus.shards
    }
    for line in stats.lines(corpus, counted):
        print(line)
    if arguments.verify:
        print("all checksums match")
    if arguments.figure is not None:
        from sdjax import errors
        from sdjax.report import lengths

        with errors.naming(arguments.figure):
            lengths.draw_lengths(counted, arguments.figure)
        print(f"figure: {arguments.figure}")
