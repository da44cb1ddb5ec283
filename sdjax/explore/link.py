"""The page's settings as the query of a link, and back."""

import math
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from sdjax.errors import InputError
from sdjax.explore.explorer import Explorer
from sdjax.inference.sampling import Sampling
from sdjax.inference.streaming import ROOM


class Settings(NamedTuple):
    """What the page shows: the text, the unit, and how the model writes.

    left, right: at what the unit is held in the two samples.
    """

    text: str
    unit: str
    bits: bool
    prompt: str
    length: int
    temperature: float
    seed: int
    left: float
    right: float

    @classmethod
    def first(cls, explorer: Explorer, unit: int | None = None) -> "Settings":
        """Return what a page begins with: a unit, by default the first one."""
        unit = explorer.first_unit() if unit is None else unit
        ends = explorer.ends(unit)
        return cls("", explorer.label(unit), False, "", 200, 0.8, 0, *ends)

    def query(self) -> str:
        """Return them as the query of a link."""
        return urlencode({**self._asdict(), "bits": int(self.bits)})

    @classmethod
    def of_query(
        cls, query: Mapping[str, str], explorer: Explorer, first: "Settings"
    ) -> "Settings":
        """Read a link; what it does not say is as at first.

        Raises:
            InputError: a value that the page cannot have; names it.
        """
        unit = query.get("unit", first.unit)
        index = explorer.unit(unit)
        if unit != first.unit:
            first = cls.first(explorer, index)
        text = query.get("text", "")
        explorer.encode(text)
        bits = query.get("bits", "0")
        if bits not in ("0", "1"):
            raise InputError(f"bits {bits!r} of the link: use 0 or 1")
        found = cls(
            text,
            explorer.label(index),
            bits == "1",
            query.get("prompt", ""),
            *(
                _number(query, name, getattr(first, name))
                for name in ("length", "temperature", "seed", "left", "right")
            ),
        )
        found.sampling()
        low, high = explorer.range_of(index)
        for name in ("left", "right"):
            if not low <= getattr(found, name) <= high:
                raise InputError(
                    f"{name} {getattr(found, name):g} of the link: unit {unit} is held"
                    f" between {low:g} and {high:g}"
                )
        return found

    def sampling(self) -> Sampling:
        """Return the options of sampling.

        Raises:
            InputError: one is out of range.
        """
        if self.length > ROOM:
            raise InputError(f"length {self.length}: at most {ROOM:,}")
        return Sampling(self.length, self.temperature, seed=self.seed)


def _number(query: Mapping[str, str], name: str, default: int | float) -> int | float:
    if name not in query:
        return default
    try:
        value = type(default)(query[name])
        if not math.isfinite(value):
            raise ValueError
    except ValueError:
        raise InputError(f"{name} {query[name]!r} of the link: not a number") from None
    return value
