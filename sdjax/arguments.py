"""The argument parser of all commands, and argument types that they share."""

import argparse
from collections.abc import Sequence

from sdjax.errors import InputError


class ArgumentParser(argparse.ArgumentParser):
    """The standard parser, except that a wrong argument raises `InputError`.

    With `intermixed` positional arguments may stand anywhere among the options.
    """

    intermixed = False

    def parse_known_args(self, args=None, namespace=None):
        if not self.intermixed:
            return super().parse_known_args(args, namespace)
        self.intermixed = False  # the intermixed parser calls this method
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self.intermixed = True

    def error(self, message: str):
        raise InputError(f"{message}; see {self.prog} --help")


def three(text: str) -> tuple[int, int, int]:
    """Parse three integers, such as "1000/1/1"."""
    try:
        first, second, third = (int(part) for part in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not three integers like 1000/1/1"
        ) from None
    return first, second, third


def add_normalise(parser: argparse.ArgumentParser, cleanings: Sequence[str]) -> None:
    """Add --normalise, which overrides how the model's training text was cleaned."""
    parser.add_argument(
        "--normalise",
        choices=cleanings,
        help="override the cleaning that the model was trained with: clean texts as"
        " reviews, or use their bytes unchanged (none)",
    )
