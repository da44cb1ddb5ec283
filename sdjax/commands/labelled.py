"""Write labelled texts that do not occur in the synthetic corpus."""

from pathlib import Path

from sdjax import errors
from sdjax.arguments import three
from sdjax.ranges import SEED, add_number
from sdjax.terminal import show


def add_arguments(parser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--counts",
        type=three,
        default=(2000, 500, 500),
        help="texts in train/valid/test",
    )
    add_number(parser, "--seed", int, SEED, default=0)


def run(arguments) -> None:
    from sdjax.prepare import synthetic

    with errors.naming(arguments.out):
        paths = synthetic.write_labelled(
            arguments.out, arguments.counts, arguments.seed
        )
    for path in paths.values():
        show(path)
