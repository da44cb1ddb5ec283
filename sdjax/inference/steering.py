"""Steering with the sentiment unit: values to hold it at, and the effect measured."""

from collections.abc import Sequence

from sdjax.errors import InputError
from sdjax.features.columns import layers_within
from sdjax.inference.sampling import Unit, unit_text
from sdjax.inference.scoring import Score, sides, top_unit, unit_and_state
from sdjax.model.classifier import Classifier

_OUTER = {"+": "0.95", "-": "0.05"}  # outer quantile of a class, by direction


def held_unit(classifier: Classifier) -> Unit:
    """Return the top unit as a number in the last layer, or as (layer, number)."""
    (index, _), metadata = unit_and_state(classifier), classifier.metadata
    if (layers := layers_within(metadata)) == 1:
        return index
    return divmod(index, metadata["units"] // layers)


def held_value(classifier: Classifier, direction: str) -> tuple[Unit, float]:
    """Return the top unit and the value to hold it at.

    The value is the 5 % or 95 % quantile over the texts of the class: only one text in
    twenty lies further out.

    Args:
        classifier: of two classes.
        direction: "+" towards the second class (positive), "-" towards the first.
    """
    top = top_unit(classifier)
    if unit_and_state(classifier)[1] != "cell":
        raise InputError(
            "this classifier reads hidden states, but only cells can be held: use a"
            " classifier on cells, or give the number and the value of a unit"
        )
    name = sides(classifier)[direction == "+"]
    upwards = (direction == "+") == (top["sign"] > 0)
    return held_unit(classifier), top["quantiles"][name][
        _OUTER["+" if upwards else "-"]
    ]


def conditions(
    units: Sequence[str], classifier: Classifier | None, contrast: bool
) -> list[dict]:
    """Return the conditions to sample under: one, or two with `contrast`.

    Args:
        units: `UNIT=VALUE`, as for `parse_holds`.
        classifier: provides the top unit, for `top` and `contrast`.
        contrast: also hold the top unit, at "+" in the first condition and at "-" in
            the second.
    """
    held = parse_holds(units, classifier)
    if not contrast:
        return [held]
    both = [held_value(classifier, direction) for direction in "+-"]
    if both[0][0] in held:
        unit = unit_text(both[0][0])
        raise InputError(
            f"--unit {unit}=...: --contrast already holds this unit; omit one of them"
        )
    return [held | {unit: value} for unit, value in both]


def headings(classifier: Classifier, hold: Sequence[dict]) -> list[str]:
    """Return the headings of the two columns of a contrast."""
    unit = held_unit(classifier)
    return [
        f"unit {unit_text(unit)} held at {held[unit]:+.3g} ({name})"
        for held, name in zip(hold, sides(classifier)[::-1], strict=True)
    ]


def shares(
    classifier: Classifier, hold: Sequence[dict], scores: Sequence[Score]
) -> list[str]:
    """Return lines with the share of each predicted class under each condition.

    Args:
        classifier: that scored the samples.
        hold: the conditions.
        scores: of the samples, condition by condition.
    """
    samples = len(scores) // len(hold)
    names = classifier.classes
    lines, positive_shares = [], []
    for start, held in zip(range(0, len(scores), samples), hold, strict=True):
        called = [s.called for s in scores[start : start + samples]]
        share = {name: sum(name in c for c in called) / samples for name in names}
        positive_shares.append(share[names[-1]])
        what = ", ".join(
            f"unit {unit_text(u)} held at {v:+.3g}" for u, v in held.items()
        )
        parts = ", ".join(f"{name} {value:.1%}" for name, value in share.items())
        lines.append(f"{what or 'nothing held'}: {parts} of {samples:,} samples")
    if len(positive_shares) == 2:
        points = 100 * (positive_shares[0] - positive_shares[1])
        lines.append(f"difference in {names[-1]}: {points:.1f} points")
    return lines


def parse_holds(texts: Sequence[str], classifier: Classifier | None) -> dict:
    """Parse `UNIT=VALUE` into a mapping unit -> value.

    `UNIT` is a unit of the last layer and `LAYER:UNIT` one of another layer. `top` is
    the classifier's top unit, for which `+` and `-` are values too.

    Raises:
        InputError: a text has another form, a unit occurs twice, or `top` is used
            without a classifier.
    """
    hold = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name == "top":
            if classifier is None:
                raise InputError(f"--unit {text}: top needs --classifier")
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


def _number(part: str, text: str, kind: type = float):
    try:
        return kind(part)
    except ValueError:
        raise InputError(
            f"--unit {text}: give the number of a unit and a value, such as 2388=1.5"
        ) from None
