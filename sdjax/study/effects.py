"""How much of a difference each factor of an experiment makes, with an interval.

Runs are not independent of each other: those of one draw, which is what one seed and
one rule of splitting hold out, share its composition. So each draw gives one number for
each question, such as its mean or the mean difference between two treatments, and only
draws are compared. That is the analysis of a split-plot with all noise taken from the
level of the draws: an interval is wide where draws are few, but it is not too narrow
for what runs of one draw have in common.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95


class Effect(NamedTuple):
    """A difference in the measured value, with its interval.

    value: the estimate.
    half: half of the width of its 95% interval by Student's t; infinity where no
        degree of freedom is left.
    freedom: degrees of freedom of the noise that the interval comes from.
    """

    value: float
    half: float
    freedom: int

    @property
    def is_seen(self) -> bool:
        """Whether the interval leaves out 0."""
        return abs(self.value) > self.half


def compare(first: Sequence[float], second: Sequence[float]) -> tuple[Effect, Effect]:
    """Return the mean over two groups of draws, and the second less the first.

    Args:
        first, second: one number of each draw. The noise is their variance within
            their group, pooled over both.

    Returns:
        The mean of the two groups' means; their difference.
    """
    groups = [np.asarray(values, np.float64) for values in (first, second)]
    freedom = sum(len(values) - 1 for values in groups)
    squares = sum(((values - values.mean()) ** 2).sum() for values in groups)
    variance = squares / freedom if freedom else np.inf
    error = variance * sum(1 / len(values) for values in groups)  # of the difference
    low, high = (values.mean() for values in groups)
    quantile = stats.t.ppf((1 + LEVEL) / 2, freedom) if freedom else 1.0
    half = float(quantile * np.sqrt(error))
    return (
        Effect(float((low + high) / 2), half / 2, freedom),
        Effect(float(high - low), half, freedom),
    )


def contrast(
    values: Mapping, draws: Sequence, one: Sequence, other: Sequence = ()
) -> list[float]:
    """Return one number of each draw: the mean of some arms, less that of others.

    Args:
        values: by (draw, arm).
        draws: whose numbers are returned, in this order.
        one: arms that every draw has.
        other: likewise; without any, nothing is taken off.
    """

    def mean(draw, arms) -> float:
        return float(np.mean([values[draw, arm] for arm in arms]))

    return [mean(d, one) - (mean(d, other) if other else 0.0) for d in draws]
