"""The order of units: the one that separates the classes best alone, then by effect."""

import numpy as np
from scipy.stats import rankdata

from sdjax.probe.unit import class_differences

_AT_ONCE = 2**24  # values that are ranked together


def rank_units(
    effects: np.ndarray, features: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Order units; the first is the top unit.

    Among the units that the classifier uses, the top unit is the one that separates
    the classes best alone. Of several units that know the class, an L1 penalty may keep
    a poor one with a large weight, because the others correct it.

    The others follow by absolute effect, which says what each adds to the classifier,
    and where that is equal by absolute difference of class means.

    Args:
        effects: float64[columns, H]; 0 for a unit that the classifier does not use.
        features: float32[N, H].
        columns: {0, 1}[N, columns].

    Returns:
        int64[H], unit indices. If all measures are equal, the lower index comes first.
    """
    differences = class_differences(features, columns)
    order = np.lexsort((-differences.max(axis=0), -np.abs(effects).max(axis=0)))
    used = order[effects[:, order].any(axis=0)]
    if not used.size:
        return order
    best = used[np.argmax(separations(features[:, used], columns).max(axis=0))]
    return np.concatenate([[best], order[order != best]])


def separations(features: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Tell how well each unit alone separates the two sides of each column.

    Args:
        features: float32[N, H].
        columns: {0, 1}[N, columns].

    Returns:
        float64[columns, H]: the area under the ROC curve, turned round where the unit
        falls, from 0.5 for none to 1 for a unit that some threshold is right with for
        every text. Equal values count one half.
    """
    count, width = features.shape
    sides = np.asarray(columns, np.float64)
    positives = sides.sum(axis=0)[:, None]
    pairs = positives * (count - positives)
    step = max(1, _AT_ONCE // count)
    found = []
    for start in range(0, width, step):
        # In float64, in which sums of ranks are exact.
        some = np.asarray(features[:, start : start + step], np.float64)
        ranks = rankdata(some, axis=0)
        above = sides.T @ ranks - positives * (positives + 1) / 2
        area = np.full_like(above, 0.5)  # where a column has one side alone
        np.divide(above, pairs, out=area, where=pairs > 0)
        found.append(np.abs(area - 0.5) + 0.5)
    return np.concatenate(found, axis=1)
