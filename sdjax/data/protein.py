"""Protein sequences as symbols: the letters of amino acids, a start and a stop.

Reference: Alley et al. 2019, "UniRep"; the numbers are those of its `aa_to_int`.
"""

import numpy as np

from sdjax.errors import UnreadableText

VOCABULARY_SIZE = 26
START, STOP = 24, 25
_START = bytes([START])
# Symbol n is letter n; "-" is a gap. X stands for any amino acid, and the letters of
# the groups (Z: E or Q, B: D or N, J: I or L) are read as it.
LETTERS = "-MRHKDESTNQCUGPAVIFYWLOX"
_ALIASES = {"Z": "X", "B": "X", "J": "X"}

_UNKNOWN = 255


def _tables() -> tuple[bytes, bytes]:
    symbols, letters = np.full(256, _UNKNOWN, np.uint8), np.zeros(256, np.uint8)
    for symbol, letter in enumerate(LETTERS):
        symbols[ord(letter)], letters[symbol] = symbol, ord(letter)
    for letter, alias in _ALIASES.items():
        symbols[ord(letter)] = LETTERS.index(alias)
    letters[START], letters[STOP] = ord(" "), ord("\n")
    return symbols.tobytes(), letters.tobytes()


_SYMBOLS, _LETTERS = _tables()


def encode(sequence: str) -> bytes:
    """Turn letters into symbols, behind a start.

    Raises:
        UnreadableText: names the first letter that stands for no amino acid.
    """
    symbols = sequence.encode("ascii", "replace").translate(_SYMBOLS)
    place = symbols.find(_UNKNOWN)
    if place >= 0:
        raise UnreadableText(
            "letter of no amino acid",
            f"letter {sequence[place]!r} at place {place + 1} stands for no amino acid:"
            f" use the capitals {''.join(sorted(LETTERS[1:] + ''.join(_ALIASES)))}"
            " or - for a gap",
        )
    return _START + symbols


def shown(symbols: bytes) -> str:
    """Return one character for each symbol: a blank for start, a newline for stop."""
    return bytes(symbols).translate(_LETTERS).decode("ascii")


def decode(symbols: bytes) -> str:
    """Give back the letters, without start and stop."""
    return shown(symbols).strip(" \n")
