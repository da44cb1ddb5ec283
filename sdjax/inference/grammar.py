"""Transition tables of the symbols that a model may generate, for each codec.

For the codec "bytes" the table is the automaton of valid UTF-8.

Reference: The Unicode Standard 16.0, table 3-7, "Well-Formed UTF-8 Byte Sequences".
"""

import numpy as np

from sdjax.data import protein
from sdjax.data.text import Normalisation

START = 0  # between characters
# In the other states 1, 2 or 3 bytes of a character are missing. After some lead bytes
# the second byte is restricted: no overlong forms, no surrogates, at most U+10FFFF.
_ONE, _TWO, _THREE, _AFTER_E0, _AFTER_ED, _AFTER_F0, _AFTER_F4 = range(1, 8)
INVALID = 8

MISSING = np.array([0, 1, 2, 3, 2, 2, 3, 3, 0], np.int32)  # missing bytes, by state


def _transitions() -> np.ndarray:
    table = np.full((9, 256), INVALID, np.int32)
    ranges = {
        START: [
            (0x00, 0x7F, START),
            (0xC2, 0xDF, _ONE),
            (0xE0, 0xE0, _AFTER_E0),
            (0xE1, 0xEC, _TWO),
            (0xED, 0xED, _AFTER_ED),
            (0xEE, 0xEF, _TWO),
            (0xF0, 0xF0, _AFTER_F0),
            (0xF1, 0xF3, _THREE),
            (0xF4, 0xF4, _AFTER_F4),
        ],
        _ONE: [(0x80, 0xBF, START)],
        _TWO: [(0x80, 0xBF, _ONE)],
        _THREE: [(0x80, 0xBF, _TWO)],
        _AFTER_E0: [(0xA0, 0xBF, _ONE)],
        _AFTER_ED: [(0x80, 0x9F, _ONE)],
        _AFTER_F0: [(0x90, 0xBF, _TWO)],
        _AFTER_F4: [(0x80, 0x8F, _TWO)],
    }
    for state, rows in ranges.items():
        for first, last, after in rows:
            table[state, first : last + 1] = after
    return table


NEXT = _transitions()  # int32[state, byte] -> state


def tables(normalisation: Normalisation, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the grammar of a codec for a model with `size` symbols.

    Returns:
        (int32[S, size], the next state for each state and symbol; int32[S], the number
        of missing symbols in each state). State 0 is the initial state. The last state
        means that the symbol is not allowed.
    """
    if normalisation.codec == "protein":
        table, missing = _protein()
    else:
        table, missing = NEXT, MISSING
    # A model may have more symbols than its codec uses; those are never allowed.
    more = ((0, 0), (0, size - table.shape[1]))
    return np.pad(table, more, constant_values=len(table) - 1), missing


def _protein() -> tuple[np.ndarray, np.ndarray]:
    """Return the grammar of proteins.

    Within a sequence (state 0) letters and the stop symbol are allowed, but not the
    gap. After the stop symbol (state 1) only the start of another sequence is allowed.
    """
    table = np.full((3, protein.VOCABULARY_SIZE), 2, np.int32)
    table[0, 1 : len(protein.LETTERS)] = 0
    table[0, protein.STOP], table[1, protein.START] = 1, 0
    return table, np.zeros(3, np.int32)
