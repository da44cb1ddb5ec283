"""Labels as numbers: numbers as they are, words by their place among the classes."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdjax.data.formats.layout import NoLabel
from sdjax.errors import InputError

MAX_CLASSES = 100  # more different words are no classes

_MAX_LABEL = 3.4028234e38  # labels are stored as float32
_MISSING = "label missing or not a number"
_NO_CLASS = "label that is none of the classes"
_NOT_MAPPED = NoLabel("with a label that --label-map does not name")


@dataclass(frozen=True)
class Labels:
    """How the label of a row is read.

    Args:
        classes: the names; a label is the place of its name. () where labels are
            numbers that are taken as they are.
        stored: the names that numbers in the file stand for (a `ClassLabel`), or ().
        mapping: pairs of a label in the file and its class; others are left out.
    """

    classes: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    mapping: tuple[tuple[str, str], ...] = ()
    _places: dict = field(init=False, repr=False, compare=False)
    _mapped: dict = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        places = {name: float(i) for i, name in enumerate(self.classes)}
        object.__setattr__(self, "_places", places)
        mapped = {word_of(word): name for word, name in self.mapping}
        object.__setattr__(self, "_mapped", mapped)

    def read(self, value: Any) -> float | str:
        """Return the label; where there is none, why.

        The reason is a `NoLabel` where nothing is wrong with the row.
        """
        if isinstance(value, NoLabel):
            return value
        if not self.classes:
            label = as_label(value)
            return _MISSING if label is None else label
        word = word_of(value)
        if self.stored:
            number = as_label(value)
            if number == -1:  # what datasets write where a part is unlabelled
                return number
            if number is not None and number in range(len(self.stored)):
                word = self.stored[int(number)]
        if word is None:
            return _MISSING
        if self.mapping:
            word = self._mapped.get(word)
            if word is None:
                return _NOT_MAPPED
        place = self._places.get(word)
        if place is None and not self.stored and not self.mapping:
            number = as_label(value)
            place = number if number in range(len(self.classes)) else None
        return _NO_CLASS if place is None else place


def as_label(value: Any) -> float | None:
    """Return a label as a finite number that float32 holds, None if it is none."""
    try:
        label = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return label if -_MAX_LABEL <= label <= _MAX_LABEL else None  # None for NaN


def word_of(value: Any) -> str | None:
    """Return a label as a word: 5, 5.0 and "5.0" are "5"; None where there is none."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return None if math.isnan(value) else f"{value:.9g}"
    if not isinstance(value, str) or not value.strip():
        return None
    word = value.strip()
    if word.lower() in ("true", "false"):
        return word.lower()
    try:
        return f"{float(word):.9g}"
    except ValueError:
        return word


def are_words(values: Iterable[Any]) -> bool:
    """Whether most of some labels are words and not numbers."""
    words, numbers = 0, 0
    for value in values:
        if isinstance(value, NoLabel) or word_of(value) is None:
            continue
        if isinstance(value, bool) or as_label(value) is None:
            words += word_of(value) != "nan"
        else:
            numbers += 1
    return words > numbers


def distinct_words(values: Iterable[Any], place: str) -> set[str]:
    """Gather the words that some labels are.

    Args:
        values: of all rows.
        place: the source and the key, for the message.

    Raises:
        InputError: there are more than `MAX_CLASSES`.
    """
    found = set()
    for value in values:
        word = None if isinstance(value, NoLabel) else word_of(value)
        if word is not None and word != "nan":
            found.add(word)
            if len(found) > MAX_CLASSES:
                raise InputError(
                    f"{place}: more than {MAX_CLASSES} different labels, such as "
                    f"{word[:40]!r}; name a column of classes, or give --label-map"
                )
    return found


def same_names(found: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[str, ...]:
    """Return the names of the classes that several sources have in common.

    Args:
        found: (source, its names); () where it has none.

    Raises:
        InputError: two sources have different names.
    """
    named = [(place, names) for place, names in found if names]
    for place, names in named[1:]:
        if names != named[0][1]:
            raise InputError(
                f"{place}: its classes are {', '.join(names)}, those of {named[0][0]} "
                f"{', '.join(named[0][1])}; give --classes"
            )
    return named[0][1] if named else ()
