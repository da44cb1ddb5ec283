"""How much of a difference each factor of an experiment makes, with an interval.

The experiment is a split-plot. A draw is what one seed and one rule of splitting hold
out; its runs, with every treatment of duplicates and of the state, share it. What two
draws differ by (the rule, and the mean over all) has the noise of the composition in
it, which only further draws show. What runs of one draw differ by has not. Taking all
runs for independent would make the intervals of the former too narrow.
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


def between(draws: Mapping[str, Sequence[float]]) -> dict[str, Effect]:
    """Compare the means of draws: their mean, and how groups differ from the first.

    Args:
        draws: by group, the mean of each of its draws over the same treatments.

    Returns:
        `mean`, the mean of the groups' means, and for every other group its name, for
        its difference from the first. The noise is the variance of draws within their
        groups, pooled over the groups.
    """
    groups = {name: np.asarray(values, np.float64) for name, values in draws.items()}
    sizes = np.array([len(values) for values in groups.values()])
    means = np.array([values.mean() for values in groups.values()])
    freedom = int(sizes.sum() - len(groups))
    squares = sum(((v - v.mean()) ** 2).sum() for v in groups.values())
    variance = squares / freedom if freedom else np.inf
    found = {
        "mean": _effect(
            means.mean(), variance * (1 / sizes).sum() / len(groups) ** 2, freedom
        )
    }
    for place, name in enumerate(groups):
        if place:
            error = variance * (1 / sizes[0] + 1 / sizes[place])
            found[name] = _effect(means[place] - means[0], error, freedom)
    return found


def within(
    values: Sequence[float],
    draws: Sequence[object],
    treatments: Mapping[str, Sequence[float]],
) -> dict[str, Effect]:
    """Estimate what treatments change within draws, by least squares.

    Every draw has a level of its own, so that nothing in which draws differ counts.

    Args:
        values: float[N], of the runs.
        draws: N labels, the draw of each run.
        treatments: by name, float[N]: 1 where a run has it, else 0.

    Returns:
        By name of the treatment, what it adds.
    """
    values = np.asarray(values, np.float64)
    levels = sorted(set(draws))
    columns = [[float(draw == level) for draw in draws] for level in levels]
    columns += [list(map(float, has)) for has in treatments.values()]
    design = np.array(columns).T
    inverse = np.linalg.pinv(design)
    estimates = inverse @ values
    freedom = len(values) - int(np.linalg.matrix_rank(design))
    squares = float(((values - design @ estimates) ** 2).sum())
    variance = squares / freedom if freedom else np.inf
    errors = (
        variance * (inverse**2).sum(axis=1)
        if freedom
        else np.full(len(inverse), np.inf)
    )
    return {
        name: _effect(estimates[place], errors[place], freedom)
        for place, name in enumerate(treatments, len(levels))
    }


def _effect(value: float, variance: float, freedom: int) -> Effect:
    if not freedom:
        return Effect(float(value), float("inf"), 0)
    quantile = stats.t.ppf((1 + LEVEL) / 2, freedom)
    return Effect(float(value), float(quantile * np.sqrt(variance)), freedom)
