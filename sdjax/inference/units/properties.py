"""Properties of the characters of a text that need no labelling.

A property gives each character a number: 1 or 0 where it is a question, an amount
otherwise. It is compared with what a unit holds after that character was read.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from sdjax.errors import InputError

YES_NO, AMOUNT = "yes or no", "amount"

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_CAPITALS = re.compile(r"\b[^\W\d_]{2,}\b")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_QUOTED = re.compile(r'"[^"]*"|\u201c[^\u201d]*\u201d')
_BRACKETED = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_END = re.compile(r"[.!?\u2026]+[\"'\u201d\u2019)\]]*(?=\s|$)")


class Property(NamedTuple):
    """What is asked of every character.

    name: short.
    what: in words.
    kind: `YES_NO` or `AMOUNT`.
    values: text of C characters -> float32[C].
    """

    name: str
    what: str
    kind: str
    values: Callable[[str], np.ndarray]


def _marked(pattern: re.Pattern, text: str, inside: bool = False) -> np.ndarray:
    """Return 1 at the characters of every match.

    Args:
        inside: not at the last one: when that was read, what it closes is over.
    """
    found = np.zeros(len(text), np.float32)
    for match in pattern.finditer(text):
        found[match.start() : match.end() - inside] = 1
    return found


def _in_capitals(text: str) -> np.ndarray:
    found = np.zeros(len(text), np.float32)
    for match in _CAPITALS.finditer(text):
        if match[0].isupper():
            found[match.start() : match.end()] = 1
    return found


def _sentence_starts(text: str) -> np.ndarray:
    """Return where sentences begin: at the first character, and after each end."""
    starts = [0]
    for match in _END.finditer(text):
        rest = match.end()
        while rest < len(text) and text[rest].isspace():
            rest += 1
        if rest < len(text):
            starts.append(rest)
    return np.array(starts)


def _since(starts: np.ndarray, length: int) -> np.ndarray:
    """Return how many characters ago the last of some places was; 0 at such a place.

    Args:
        starts: increasing; before the first one it counts from the text's beginning.
    """
    places = np.arange(length)
    if not len(starts) or starts[0]:
        starts = np.concatenate([[0], starts]).astype(int)
    last = starts[np.searchsorted(starts, places, side="right") - 1]
    return (places - last).astype(np.float32)


def _since_space(text: str) -> np.ndarray:
    return _since(_where(text, str.isspace), len(text))


def _since_newline(text: str) -> np.ndarray:
    starts = _where(text, lambda character: character in "\n\r")
    found = _since(starts, len(text))
    found[: starts[0] if len(starts) else len(text)] = 0
    return found


def _where(text: str, holds: Callable[[str], bool]) -> np.ndarray:
    return np.array([i for i, c in enumerate(text) if holds(c)], int)


def _in_word(text: str) -> np.ndarray:
    found = np.zeros(len(text), np.float32)
    for match in _WORD.finditer(text):
        found[match.start() : match.end()] = range(1, len(match[0]) + 1)
    return found


def _name_within(text: str) -> np.ndarray:
    """Mark capitalised words that begin no sentence."""
    found = np.zeros(len(text), np.float32)
    words = [match.span() for match in _WORD.finditer(text)]
    begins = np.array([start for start, _ in words])
    first = set()
    for start in _sentence_starts(text):
        place = int(np.searchsorted(begins, start)) if len(begins) else 0
        if place < len(begins):
            first.add(int(begins[place]))
    for start, end in words:
        word = text[start:end]
        if word[0].isupper() and word[1:].islower() and start not in first:
            found[start:end] = 1
    return found


def _end_next(text: str) -> np.ndarray:
    found = np.zeros(len(text), np.float32)
    ends = [match.start() - 1 for match in _END.finditer(text) if match.start()]
    found[ends] = 1
    return found


BUILT_IN = (
    Property(
        "in quotes",
        "inside double quotes, from the opening one on",
        YES_NO,
        partial(_marked, _QUOTED, inside=True),
    ),
    Property(
        "in brackets",
        "inside ( ) or [ ], from the opening one on",
        YES_NO,
        partial(_marked, _BRACKETED, inside=True),
    ),
    Property(
        "in a tag",
        "inside an HTML tag",
        YES_NO,
        partial(_marked, _TAG, inside=True),
    ),
    Property(
        "in a number", "at the digits of a number", YES_NO, partial(_marked, _NUMBER)
    ),
    Property(
        "in capitals",
        "in a word of two or more letters, all of them capitals",
        YES_NO,
        _in_capitals,
    ),
    Property(
        "a name within",
        "in a capitalised word that begins no sentence",
        YES_NO,
        _name_within,
    ),
    Property(
        "sentence ends next",
        "the next character is the dot or mark that ends the sentence",
        YES_NO,
        _end_next,
    ),
    Property(
        "place in the word", "1 at its first letter, 0 outside words", AMOUNT, _in_word
    ),
    Property(
        "place in the sentence",
        "characters since the sentence began",
        AMOUNT,
        lambda text: _since(_sentence_starts(text), len(text)),
    ),
    Property(
        "place in the text",
        "characters since the text began",
        AMOUNT,
        lambda text: np.arange(len(text), dtype=np.float32),
    ),
    Property(
        "since a space",
        "characters since the last white space",
        AMOUNT,
        _since_space,
    ),
    Property(
        "since a newline",
        "characters since the last line end, 0 before the first",
        AMOUNT,
        _since_newline,
    ),
)


def from_patterns(patterns: Mapping[str, str]) -> list[Property]:
    """Return a property for each regular expression: at the characters of its matches.

    Args:
        patterns: name -> regular expression, as of Python's `re`.

    Raises:
        InputError: an expression is wrong, or matches without any character.
    """
    found = []
    for name, expression in patterns.items():
        try:
            pattern = re.compile(expression)
        except re.error as error:
            raise InputError(
                f"--property {name}={expression}: not a regular expression: {error}"
            ) from None
        if pattern.fullmatch(""):
            raise InputError(
                f"--property {name}={expression}: matches nothing at all everywhere;"
                " write it so that it needs a character"
            )
        what = f"at the matches of {expression}"
        found.append(Property(name, what, YES_NO, partial(_marked, pattern)))
    return found
