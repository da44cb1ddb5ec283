"""Which properties are asked for: those that vary on both sides of the texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sdjax.errors import InputError
from sdjax.inference.units.choice import Amounts, distributions
from sdjax.inference.units.properties import (
    AMOUNT,
    BUILT_IN,
    YES_NO,
    Property,
    from_patterns,
)
from sdjax.inference.units.texts import ReadText


@dataclass(frozen=True)
class Questions:
    """The properties that units are compared with, and the texts for that.

    asked: all of them; those of whole texts (columns) are the last.
    in_texts: those that are not columns.
    known: how their values are distributed, over the texts of the choice and the rest.
    left_out: (name, why) of the others.
    chosen, held_out: the texts, with the columns that are asked for.
    """

    asked: list[Property]
    in_texts: list[Property]
    known: tuple[list[Amounts], list[Amounts]]
    left_out: list[tuple[str, str]]
    chosen: list[ReadText]
    held_out: list[ReadText]

    @classmethod
    def of(
        cls,
        chosen: Sequence[ReadText],
        held_out: Sequence[ReadText],
        patterns: Mapping[str, str],
        columns: Mapping[str, Sequence[float]],
    ) -> "Questions":
        """Find out which properties vary.

        Args:
            chosen, held_out: texts, each with its value of every column.
            patterns, columns: as for `find_units`.

        Raises:
            InputError: a pattern is wrong, a name is there twice, or nothing varies.
        """
        in_texts = [*BUILT_IN, *from_patterns(patterns)]
        properties = in_texts + [_column(*column) for column in columns.items()]
        _check_names(properties)
        known = [distributions(some, in_texts) for some in (chosen, held_out)]
        kept, left_out = _usable(properties, *known)
        if not kept:
            why = "; ".join(f"{name}: {reason}" for name, reason in left_out)
            raise InputError(f"no property is left of {len(properties)}: {why}")
        # What is not used is not found out again, block by block.
        used = [place - len(in_texts) for place in kept if place >= len(in_texts)]
        return cls(
            asked=[properties[place] for place in kept],
            in_texts=[properties[place] for place in kept if place < len(in_texts)],
            known=tuple([amounts[place] for place in kept] for amounts in known),
            left_out=left_out,
            chosen=[text.with_columns(used) for text in chosen],
            held_out=[text.with_columns(used) for text in held_out],
        )


def _column(name: str, values: Sequence[float]) -> Property:
    kind = YES_NO if len(set(values)) == 2 else AMOUNT
    what = f"column {name} of the whole text"
    if kind == YES_NO:
        what += f" is {max(values):g}, not {min(values):g}"
    return Property(name, what, kind, lambda text: np.zeros(len(text), np.float32))


def _check_names(properties: Sequence[Property]) -> None:
    names = [p.name for p in properties]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"property {name!r} is there twice; give another name")


def _usable(
    properties: Sequence[Property], chosen: list[Amounts], held_out: list[Amounts]
) -> tuple[list[int], list[tuple[str, str]]]:
    """Return which properties vary on both sides, and why the others are left out."""
    kept, left_out = [], []
    for place, asked in enumerate(properties):
        sizes = [len(known[place].values) for known in (chosen, held_out)]
        if min(sizes) > 1:
            kept.append(place)
            continue
        if asked.kind == YES_NO and max(sizes) == 1:
            everywhere = chosen[place].values[0] > 0
            why = "at every character" if everywhere else "at no character"
        elif max(sizes) == 1:
            why = f"always {chosen[place].values[0]:g}"
        else:
            why = (
                "varies only on one side of the texts, those of the choice or the rest"
            )
        left_out.append((asked.name, why))
    return kept, left_out
