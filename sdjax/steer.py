"""Holding the sentiment unit: where to, and what the classifier says of the outcome."""

from collections.abc import Sequence

from sdjax.classifier import Classifier
from sdjax.errors import InputError
from sdjax.scoring import Score, sides, top_unit

_OUTER = {"+": "0.95", "-": "0.05"}  # the far end of a class, on its own side


def held_value(classifier: Classifier, direction: str) -> tuple[int, float]:
    """Return the top unit and the value to hold it at.

    The value is the outer quantile of the class's texts: only one text in twenty goes
    further in that direction.

    Args:
        classifier: of two classes.
        direction: "+" towards the second class (positive), "-" towards the first.
    """
    top = top_unit(classifier)
    if classifier.metadata.get("state", "cell") != "cell":
        raise InputError(
            "this classifier reads hidden states; what is held is a cell: use one of"
            " cells, or give a unit's number and value"
        )
    name = sides(classifier)[direction == "+"]
    upwards = (direction == "+") == (top["sign"] > 0)
    return top["index"], top["quantiles"][name][_OUTER["+" if upwards else "-"]]


def conditions(
    units: Sequence[str], classifier: Classifier | None, contrast: bool
) -> list[dict]:
    """Return what to hold: one condition, or towards each class of the classifier.

    Args:
        units: `UNIT=VALUE`, as for `parse_holds`.
        classifier: whose top unit `top` and `contrast` mean.
        contrast: also hold the top unit at "+" in the first and at "-" in the second.
    """
    held = parse_holds(units, classifier)
    if not contrast:
        return [held]
    both = [held_value(classifier, direction) for direction in "+-"]
    if both[0][0] in held:
        raise InputError(f"--unit: --contrast holds unit {both[0][0]} itself")
    return [held | {unit: value} for unit, value in both]


def headings(classifier: Classifier, hold: Sequence[dict]) -> list[str]:
    """Return a heading for each column of a contrast."""
    unit = top_unit(classifier)["index"]
    return [
        f"unit {unit} held at {held[unit]:+.3g} ({name})"
        for held, name in zip(hold, sides(classifier)[::-1], strict=True)
    ]


def shares(
    classifier: Classifier, hold: Sequence[dict], scores: Sequence[Score]
) -> list[str]:
    """Say how many samples of each condition the classifier gives to each class.

    Args:
        hold: the conditions.
        scores: of the samples, those of the first condition first.
    """
    samples = len(scores) // len(hold)
    names = classifier.classes
    lines, found = [], []
    for start, held in zip(range(0, len(scores), samples), hold, strict=True):
        called = [s.called for s in scores[start : start + samples]]
        share = {name: sum(name in c for c in called) / samples for name in names}
        found.append(share[names[-1]])
        what = ", ".join(f"unit {u} held at {v:+.3g}" for u, v in held.items())
        parts = ", ".join(f"{name} {value:.1%}" for name, value in share.items())
        lines.append(f"{what or 'nothing held'}: {parts} of {samples:,} samples")
    if len(found) == 2:
        points = 100 * (found[0] - found[1])
        lines.append(f"difference in {names[-1]}: {points:.1f} points")
    return lines


def parse_holds(texts: Sequence[str], classifier: Classifier | None) -> dict:
    """Read `UNIT=VALUE` (also `top=+`, `top=-`) into unit -> value.

    Raises:
        InputError: not of that form, a unit given twice, or `top` without classifier.
    """
    hold = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name == "top":
            if classifier is None:
                raise InputError(f"--unit {text}: top is a classifier's: --classifier")
            if value in _OUTER:
                unit, number = held_value(classifier, value)
            else:
                unit, number = top_unit(classifier)["index"], _number(value, text)
        else:
            unit, number = _number(name, text, int), _number(value, text)
        if unit in hold:
            raise InputError(f"--unit {text}: unit {unit} is held already")
        hold[unit] = number
    return hold


def _number(given: str, text: str, kind: type = float):
    try:
        return kind(given)
    except ValueError:
        raise InputError(
            f"--unit {text}: write a unit's number and a value, as 2388=1.5"
        ) from None
