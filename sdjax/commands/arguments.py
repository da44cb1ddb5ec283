"""Types of arguments that several commands take."""

import argparse


def three(text: str) -> tuple[int, int, int]:
    try:
        first, second, third = (int(part) for part in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not three numbers like 1000/1/1"
        ) from None
    return first, second, third
