"""Which values of a record are its text, its label and its id."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sdjax.data.formats.layout import NoLabel, Record
from sdjax.data.labels import Labels, as_label
from sdjax.data.read_report import ReadReport
from sdjax.errors import InputError

TEXT_KEYS = (
    "reviewText",  # Amazon 2014 and 2018
    "text",  # Amazon 2023, IMDB and Yelp in TFDS
    "review",
    "sentence",
    "review_body",
    "review_text",
    "content",
    "body",
    "sequence",  # of a protein
)

# Like an example, with the place that messages name: (row, place, text, label).
Placed = tuple[int, int | str, str, float | tuple[float, ...] | None]

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\"}
_ESCAPE = re.compile(r"""\\([ntr"'\\])""")


class Keys(NamedTuple):
    """Which values of the records of a source are the text and the labels.

    place: the source as messages name it.
    text: keys of the text; several are joined by a blank. `review.text` is the value
        `text` of the object `review`.
    label: keys of the labels, () without any.
    labels: how each of them is read.
    unescape: whether `\\n` and the like are written out in texts.
    """

    place: str
    text: tuple[str, ...]
    label: tuple[str, ...] = ()
    labels: tuple[Labels, ...] = ()
    unescape: bool = False

    @property
    def are_plain(self) -> bool:
        """Whether the text is one value of the record itself, taken as it is."""
        keys = (*self.text, *self.label)
        return len(self.text) == 1 and not self.unescape and "." not in "".join(keys)

    def pick(self, records: Iterable[Record], report: ReadReport) -> Iterator[Placed]:
        """Pick the text and the label from every record; count those without.

        Where there are several labels, they come as a tuple.
        """
        label_key = self.label[0] if self.label else None
        one = self.labels[0] if len(self.label) == 1 else None
        # Of most sources the text is one value as it is: this is where the time goes.
        text_key = self.text[0] if self.are_plain else None
        for row, place, values in records:
            text = self._text(values) if text_key is None else values.get(text_key)
            if type(text) is not str:
                named = " or ".join(f"'{key}'" for key in self.text)
                missing = f"row without {named}"
                reason = missing if text is None else "text that is not a string"
                report.skip(reason, f"{self.place}:{place}")
            elif not text or text.isspace():
                report.skip("empty text", f"{self.place}:{place}")
            elif label_key is None:
                yield row, place, text, None
            elif one is None:
                labels, why = self.read_labels(values)
                if why is None:
                    yield row, place, text, labels
                else:
                    count_unlabelled(why, f"{self.place}:{place}", report)
            else:
                value = (
                    value_at(values, label_key)
                    if text_key is None
                    else values.get(label_key)
                )
                # Plain numbers, which are most, cost less this way.
                label = None if one.classes else as_label(value)
                if label is None:
                    label = one.read(value)
                if type(label) is float:
                    yield row, place, text, label
                else:
                    count_unlabelled(label, f"{self.place}:{place}", report)

    def read_labels(
        self, values: dict[str, Any]
    ) -> tuple[tuple[float, ...], str | None]:
        """Read all labels of a record.

        Returns:
            (the labels; why one of them is none, or None).
        """
        found = tuple(
            how.read(value_at(values, key))
            for key, how in zip(self.label, self.labels, strict=True)
        )
        return found, next((x for x in found if type(x) is not float), None)

    def _text(self, values: dict[str, Any]) -> Any:
        if len(self.text) == 1:
            text = value_at(values, self.text[0])
        else:
            found = [value_at(values, key) for key in self.text]
            parts = [part for part in found if part is not None]
            if not all(type(part) is str for part in parts):
                return 0
            stripped = (part.strip() for part in parts)
            text = " ".join(part for part in stripped if part) if parts else None
        return unescaped(text) if self.unescape and type(text) is str else text


def value_at(values: dict[str, Any], key: str) -> Any:
    """Return the value of a key, in objects within objects where it has dots."""
    if key in values or "." not in key:
        return values.get(key)
    first, _, rest = key.partition(".")
    inner = values.get(first)
    return value_at(inner, rest) if isinstance(inner, dict) else None


def keys_of(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the keys of a record; of objects in it those within them, with dots."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from keys_of(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def unescaped(text: str) -> str:
    """Decode newlines, tabs, quotes and backslashes that are written out."""
    return _ESCAPE.sub(lambda found: _ESCAPES[found[1]], text)


def count_unlabelled(reason: str, place: str, report: ReadReport) -> None:
    """Count a row for whose label `Labels.read` gave a reason."""
    if isinstance(reason, NoLabel):
        report.leave_out(reason)
    else:
        report.skip(reason, place)


def is_id(value: Any) -> bool:
    """Whether a value names a row: a number, or a string that is not blank."""
    if isinstance(value, str):
        return bool(value.strip())
    return isinstance(value, int | float) and not math.isnan(value)


def find_keys(
    place: str, kind: str, exist: Sequence[str], role: str, wanted: str | None
) -> tuple[str, ...]:
    """Find the keys that a user means.

    Args:
        place: the source, for the message.
        kind: "key" or "column".
        exist: keys that the first records have.
        role: what they are for: "text", "label" or "id".
        wanted: a key, or several with commas between; None for a usual one of texts.

    Raises:
        InputError: there is no such key; it names those that there are.
    """
    shown = ", ".join(_shown(key) for key in exist[:50]) or "none"
    if wanted is None:
        found = next((key for key in TEXT_KEYS if key in exist), None)
        if found is None:
            raise InputError(
                f"{place}: no {kind} that is known to hold text; {kind}s that exist: "
                f"{shown}; name one with --{role}-key"
                + ("" if kind == "key" else ", or give --no-header if these are data")
            )
        return (found,)
    several = (wanted,) if wanted in exist else tuple(wanted.split(","))
    for key in several:
        if key not in exist:
            raise InputError(
                f"{place}: no {role} {kind} '{key}'; {kind}s that exist: {shown}"
            )
    return several


def _shown(key: str) -> str:
    plain = key == key.strip() and key.isprintable() and "," not in key
    return key[:40] if plain else repr(key[:40])
