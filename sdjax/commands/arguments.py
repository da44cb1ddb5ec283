"""Types of arguments that several commands take."""

import argparse

from sdjax.text import CLEANINGS


def three(text: str) -> tuple[int, int, int]:
    try:
        first, second, third = (int(part) for part in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not three numbers like 1000/1/1"
        ) from None
    return first, second, third


def add_normalise(parser) -> None:
    """Let texts be cleaned otherwise than the model's training text was."""
    parser.add_argument(
        "--normalise",
        choices=CLEANINGS,
        help="clean texts as reviews, or take their bytes as they are (none), instead"
        " of as the model was trained",
    )
