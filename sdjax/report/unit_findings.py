"""What was found out about units: `inference.units` makes it, `units_page` shows it."""

from typing import NamedTuple

import numpy as np

from sdjax.features.trace import TracedText


class Sample(NamedTuple):
    """A piece of a text that was held out, with the values of a property's best unit.

    text: the piece, and what the unit held after each of its bytes.
    marked: bool[characters], where a property holds that varies within the text.
    middle: value without a colour.
    reach: distance from it at which the colour is full.
    value: of a property of the whole text; None of one that varies within it.
    """

    text: TracedText
    marked: np.ndarray
    middle: float
    reach: float
    value: float | None


class Candidate(NamedTuple):
    """One unit for one property, on the texts that were held out.

    unit: its index in the state.
    rises: whether larger values go with the property, as on the texts of the choice.
    score: AUC, or rank correlation; turned round where the unit falls, so that more is
        better.
    error: what the bins may have changed it by; 0 where it is exact.
    """

    unit: int
    rises: bool
    score: float
    error: float


class PropertyFinding(NamedTuple):
    """The best unit for a property.

    name, what: of `inference.units.properties.Property`.
    yes_no: whether it holds or does not; else it is an amount.
    mean: of the property over the held-out characters; the share where it holds.
    best, runner_up: chosen on other texts; no second one where there is one unit.
    chance: float[permutations], the score of the best of all units when the property is
        moved to other characters, in no order.
    samples: a piece in which it varies, or two texts between which it does.
    """

    name: str
    what: str
    yes_no: bool
    mean: float
    best: Candidate
    runner_up: Candidate | None
    chance: np.ndarray
    samples: list[Sample]

    @property
    def above_chance(self) -> bool:
        """Whether the best unit beats all permutations."""
        return self.best.score > self.chance.max()


class Change(NamedTuple):
    """How much a unit changes, on average, where something is read."""

    read: str
    mean: float
    count: int


class Context(NamedTuple):
    """A place where a unit is high or low: what stands before, the character, after."""

    value: float
    before: str
    character: str
    after: str


class UnitProfile(NamedTuple):
    """What one unit does on the texts that were held out.

    unit: its index in the state.
    mean, deviation: of its values.
    counts, edges: its histogram; values beyond the ends are in the first and last bar.
    characters, words: what makes it rise most, and fall most, in that order.
    highest, lowest: places in different texts.
    correlation: float[lags], its correlation with itself so many characters later.
    time: characters until that has fallen to 1/e; None if it has not within the lags.
    follows: (property, score) of those that it follows best, as for `Candidate`, on the
        texts of the choice.
    """

    unit: int
    mean: float
    deviation: float
    counts: np.ndarray
    edges: np.ndarray
    characters: tuple[list[Change], list[Change]]
    words: tuple[list[Change], list[Change]]
    highest: list[Context]
    lowest: list[Context]
    correlation: np.ndarray
    time: float | None
    follows: list[tuple[str, float]]


class Findings(NamedTuple):
    """What the units of a model follow.

    checkpoint, step, state: which states were read.
    units: how many there are.
    num_layers: that they are of, side by side.
    texts, characters: of the choice and held out.
    empty: texts without a character.
    left_out: (property, why).
    """

    checkpoint: str
    step: int
    state: str
    units: int
    num_layers: int
    texts: tuple[int, int]
    characters: tuple[int, int]
    empty: int
    seed: int
    properties: list[PropertyFinding]
    left_out: list[tuple[str, str]]
    profiles: list[UnitProfile]
