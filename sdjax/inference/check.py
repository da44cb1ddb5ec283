"""What a downloaded model computes, beside what others found with the same weights."""

from collections.abc import Sequence
from typing import NamedTuple

from sdjax.checkpoints.registry import Check, Weights
from sdjax.features.featurizer import TextFeaturizer
from sdjax.terminal import printable

LARGEST = 1e-3  # difference that is still the same model
_SHOWN = 40  # characters of a text


class Measured(NamedTuple):
    """A published value, and the one that was measured here."""

    check: Check
    value: float

    @property
    def difference(self) -> float:
        """The measured value less the published one."""
        return self.value - self.check.value

    @property
    def agrees(self) -> bool:
        """Whether it is the same value; what is not a number never is."""
        return abs(self.difference) <= LARGEST


def measure(featurizer: TextFeaturizer, checks: Sequence[Check]) -> list[Measured]:
    """Read each text and take the cell of its unit after the last byte.

    Args:
        featurizer: of the model; cells, the last state.
        checks: texts with the values that others found.
    """
    features = featurizer.transform([check.text for check in checks])
    return [
        Measured(check, float(row[check.unit]))
        for check, row in zip(checks, features, strict=True)
    ]


def table(measured: Sequence[Measured], weights: Weights) -> str:
    """Return the values side by side, and a line that says whether they agree.

    Args:
        measured: as `measure` gave them.
        weights: that the values are known of.
    """
    lines = [f"unit  {weights.checks_are:>9}   measured  difference  text"]
    for each in measured:
        text = printable(each.check.text)
        text = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
        lines.append(
            f"{each.check.unit:4}  {each.check.value:+9.6f}  {each.value:+9.6f}"
            f"  {each.difference:+10.1e}  {text}"
        )
    wrong = sum(not each.agrees for each in measured)
    lines.append(f"{weights.checks_are}: by {weights.checks_from}")
    verdict = f"{wrong} of {len(measured)} differ" if wrong else "all agree"
    lines.append(f"{verdict}; up to {LARGEST:g} is rounding")
    return "\n".join(lines)
