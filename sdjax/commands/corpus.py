"""Show statistics of a corpus, and verify its files."""

from pathlib import Path

from sdjax.errors import InputError
from sdjax.terminal import show


def add_arguments(parser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    show = actions.add_parser(
        "show", help="counts, lengths and most common bytes of every split"
    )
    show.add_argument("folder", type=Path, metavar="DIR")
    show.add_argument(
        "--verify", action="store_true", help="as `sdjax verify DIR`, before the rest"
    )
    show.add_argument(
        "--figure", type=Path, metavar="FILE.png", help="draw the review lengths"
    )


def run(arguments) -> None:
    from sdjax.commands.verify import report
    from sdjax.data import stats
    from sdjax.data.corpus import Corpus, verify

    if arguments.figure is not None and arguments.figure.suffix != ".png":
        raise InputError(f"--figure {arguments.figure} must end in .png")
    if arguments.verify:
        report(arguments.folder, verify(arguments.folder, progress=True))
    corpus = Corpus.open(arguments.folder)
    counted = {
        split: stats.measure(corpus, split, progress=True) for split in corpus.shards
    }
    for line in stats.lines(corpus, counted):
        show(line)
    if arguments.figure is not None:
        from sdjax import errors
        from sdjax.report import lengths

        with errors.naming(arguments.figure):
            lengths.draw_lengths(counted, arguments.figure)
        show(f"figure: {arguments.figure}")
