"""Which byte may follow which in UTF-8, as a table: the automaton of valid text.

Reference: The Unicode Standard 16.0, table 3-7, "Well-Formed UTF-8 Byte Sequences".
"""

import numpy as np

START = 0  # between characters
# In the other states 1, 2 or 3 bytes of a character are still to come; after some
# first bytes the second is restricted (no overlong forms, surrogates, or > U+10FFFF).
_ONE, _TWO, _THREE, _AFTER_E0, _AFTER_ED, _AFTER_F0, _AFTER_F4 = range(1, 8)
INVALID = 8

MISSING = np.array([0, 1, 2, 3, 2, 2, 3, 3, 0], np.int32)  # bytes to come, by state


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
