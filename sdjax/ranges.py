"""Ranges of numbers that a user gives: checked where they come in, and said there."""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass

LARGEST_SEED = 2**32 - 1  # jax and NumPy both take this many bits
LARGEST_COUNT = 2**31 - 1  # steps are counted in 32 bits


@dataclass(frozen=True)
class Range:
    """Which numbers are accepted; infinity and NaN never are.

    Args:
        least, most: the ends; None where there is none.
        above, below: whether `least`, or `most`, itself is left out.
    """

    least: float | None = None
    most: float | None = None
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        if isinstance(value, float) and not math.isfinite(value):
            return False
        low = self.least is None or (
            value > self.least if self.above else value >= self.least
        )
        high = self.most is None or (
            value < self.most if self.below else value <= self.most
        )
        return low and high

    def __str__(self) -> str:
        if self.most is None and self.least is None:
            return "finite"
        if self.most is None:
            low = f"above {self.least:,}" if self.above else f"{self.least:,} or above"
            return f"{low}, and finite"
        if self.above:
            end = "below" if self.below else "at most"
            return f"above {self.least:,} and {end} {self.most:,}"
        return f"from {self.least:,} to {'below ' if self.below else ''}{self.most:,}"


POSITIVE = Range(0, above=True)
NOT_NEGATIVE = Range(0)
FRACTION = Range(0, 1)
COUNT = Range(1, LARGEST_COUNT)
COUNT_OR_NONE = Range(0, LARGEST_COUNT)
SEED = Range(0, LARGEST_SEED)
SIGNED_SEED = Range(-(2**63), 2**63 - 1)  # of a hash, not of a generator
MOST_WORKERS = Range(1, 4096)
PORT = Range(0, 2**16 - 1)


def number(kind: type, allowed: Range) -> Callable[[str], float]:
    """Return what parses a number of a command line, for `add_argument(type=)`.

    Args:
        kind: int or float.
        allowed: which are accepted.
    """

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if value not in allowed:
            wanted = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r}: give {wanted}, {allowed}")
        return value

    return parse


def add_number(
    parser: argparse.ArgumentParser,
    flag: str,
    kind: type,
    allowed: Range,
    help: str = "",
    **options,
) -> None:
    """Add a flag that takes a number; its help ends with the range and the default.

    Args:
        parser: of a command, or a group of it.
        flag: such as "--seed".
        kind, allowed: as for `number`.
        help: what it is for.
        options: as for `add_argument`.
    """
    default = options.get("default")
    notes = [str(allowed), *([] if default is None else [f"default {default}"])]
    parser.add_argument(
        flag,
        type=number(kind, allowed),
        help=f"{help} ({'; '.join(notes)})".strip().replace("%", "%%"),
        **options,
    )
