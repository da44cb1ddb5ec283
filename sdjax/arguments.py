"""The parser of every command, and types of arguments that several take."""

import argparse
from collections.abc import Sequence

from sdjax.errors import InputError


class ArgumentParser(argparse.ArgumentParser):
    """The standard parser; a wrong argument is an `InputError`, without the usage."""

    def error(self, message: str):
        raise InputError(f"{message}; see {self.prog} --help")


def three(text: str) -> tuple[int, int, int]:
    """Read three whole numbers, such as "1000/1/1"."""
    try:
        first, second, third = (int(part) for part in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not three numbers like 1000/1/1"
        ) from None
    return first, second, third


def add_normalise(parser: argparse.ArgumentParser, cleanings: Sequence[str]) -> None:
    """Let texts be cleaned otherwise than the model's training text was."""
    parser.add_argument(
        "--normalise",
        choices=cleanings,
        help="clean texts as reviews, or take their bytes as they are (none), instead"
        " of as the model was trained",
    )
