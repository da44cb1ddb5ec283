"""Holding the sentiment unit: where to, and what the classifier says of the outcome."""

from collections.abc import Sequence

from sdjax.errors import InputError
from sdjax.features.columns import layers_within
from sdjax.inference.sampling import Unit, unit_text
from sdjax.inference.scoring import Score, sides, top_unit
from sdjax.model.classifier import Classifier

_OUTER = {"+": "0.95", "-": "0.05"}  # the far end of a class, on its own side


def held_unit(classifier: Classifier) -> Unit:
    """Return the top unit: its number in the last layer, or with the layer it is of."""
    index, metadata = top_unit(classifier)["index"], classifier.metadata
    if (layers := layers_within(metadata)) == 1:
        return index
    return divmod(index, metadata["units"] // layers)


def held_value(classifier: Classifier, direction: str) -> tuple[Unit, float]:
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
    return held_unit(classifier), top["quantiles"][name][
        _OUTER["+" if upwards else "-"]
    ]


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
        unit = unit_text(both[0][0])
        raise InputError(f"--unit: --contrast holds unit {unit} itself")
    return [held | {unit: value} for unit, value in both]


def headings(classifier: Classifier, hold: Sequence[dict]) -> list[str]:
    """Return a heading for each column of a contrast."""
    unit = held_unit(classifier)
    return [
        f"unit {unit_text(unit)} held at {held[unit]:+.3g} ({name})"
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
        what = ", ".join(
            f"unit {unit_text(u)} held at {v:+.3g}" for u, v in held.items()
        )
        parts = ", ".join(f"{name} {value:.1%}" for name, value in share.items())
        lines.append(f"{what or 'nothing held'}: {parts} of {samples:,} samples")
    if len(found) == 2:
        points = 100 * (found[0] - found[1])
        lines.append(f"difference in {names[-1]}: {points:.1f} points")
    return lines


def parse_holds(texts: Sequence[str], classifier: Classifier | None) -> dict:
    """Read `UNIT=VALUE` into unit -> value.

    UNIT is a unit of the last layer, `LAYER:UNIT` one of any, and `top` the
    classifier's, with `+` and `-` as values.

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
                unit, number = held_unit(classifier), _number(value, text)
        else:
            place = [_number(part, text, int) for part in name.split(":", 1)]
            unit = place[0] if len(place) == 1 else tuple(place)
            number = _number(value, text)
        if unit in hold:
            raise InputError(f"--unit {text}: unit {unit_text(unit)} is held already")
        hold[unit] = number
    return hold


def _number(given: str, text: str, kind: type = float):
    try:
        return kind(given)
    except ValueError:
        raise InputError(
            f"--unit {text}: write a unit's number and a value, as 2388=1.5"
        ) from None
