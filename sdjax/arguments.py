"""The argument parser of all commands, and argument types that they share."""

import argparse
import sys
from collections.abc import Sequence

from sdjax.errors import InputError
from sdjax.terminal import show


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


def add_keep_formulas(parser: argparse.ArgumentParser) -> None:
    """Add --keep-formulas, for commands that write texts to a table."""
    parser.add_argument(
        "--keep-formulas",
        action="store_true",
        help="write texts that begin with =, +, - or @ as they are to .csv, where a"
        " spreadsheet would take them for formulas; by default an apostrophe is put"
        " before them",
    )


def say_escaped(count: int) -> None:
    """Say how many texts got an apostrophe, on standard error."""
    if count:
        show(
            f"{count:,} texts begin with =, +, - or @, which a spreadsheet would take"
            " for a formula, and got an apostrophe; --keep-formulas writes them as they"
            " are",
            file=sys.stderr,
        )
