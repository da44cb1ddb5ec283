"""The argument parser of all commands, and argument types that they share."""

import argparse
from collections.abc import Sequence

from sdjax.errors import InputError


class ArgumentParser(argparse.ArgumentParser):
    """The standard parser, except that a wrong argument raises `InputError`."""

    def error(self, message: str):
        raise InputError(f"{message}; see {self.prog} --help")


def three(text: str) -> tuple[int, int, int]:
    """Parse three integers of at least 1, such as "1000/1/1"."""
    try:
        first, second, third = (int(part) for part in text.split("/"))
    except ValueError:
        first = second = third = 0
    if min(first, second, third) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r}: give three integers of at least 1, like 1000/1/1"
        )
    return first, second, third


def add_normalise(parser: argparse.ArgumentParser, cleanings: Sequence[str]) -> None:
    """Add --normalise, which overrides how the model's training text was cleaned."""
    parser.add_argument(
        "--normalise",
        choices=cleanings,
        help="override the cleaning that the model was trained with: clean texts as"
        " reviews, as OpenAI's encoder does, or use their bytes unchanged (none)",
    )
