"""How well one number follows another by rank: exactly, or from histograms.

A yes-or-no property is scored by the area under the ROC curve (AUC): how often a
character where it holds has the larger value than one where it does not. An amount is
scored by Spearman's rank correlation.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata


class Score(NamedTuple):
    """A score, and by how much the bins may have changed it; 0 where it is exact."""

    value: float
    error: float = 0.0


def auc(values: np.ndarray, positive: np.ndarray) -> float:
    """Return the area under the ROC curve; equal values count one half.

    Args:
        values: float[N].
        positive: {0, 1}[N], both of them.
    """
    positive = np.asarray(positive, bool)
    count = int(positive.sum())
    ranks = _ranks(values)[positive].sum()
    return float((ranks - count * (count + 1) / 2) / (count * (len(values) - count)))


def rank_correlation(values: np.ndarray, amounts: np.ndarray) -> float:
    """Return Spearman's correlation of float[N] and float[N]; 0 where one is constant.

    Equal values have the mean of their ranks.
    """
    a, b = (_ranks(x) - (len(x) + 1) / 2 for x in (values, amounts))
    size = np.sqrt(np.sum(a * a) * np.sum(b * b))
    return float(np.sum(a * b) / size) if size else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    # Of float32 newer versions of SciPy give ranks in float32, whose sums are rounded.
    return rankdata(np.asarray(values, np.float64))


def middle_ranks(counts: np.ndarray) -> np.ndarray:
    """Return the mean rank, from 1, of what lies in each bin, float64[..., bins].

    Args:
        counts: [..., bins], in the order of the values.
    """
    below = np.cumsum(counts, axis=-1) - counts
    return below + (counts + 1) / 2


def binned_auc(yes: np.ndarray, no: np.ndarray, single: np.ndarray) -> Score:
    """Return the AUC of values in bins.

    Within a bin every pair counts one half, so the error is half of all such pairs; but
    where all values are equal, that is what they count.

    Args:
        yes, no: counts in each bin, where the property holds and where it does not.
        single: bool[bins], which hold one value only.
    """
    yes, no = yes.astype(float), no.astype(float)
    pairs = yes.sum() * no.sum()
    below = np.cumsum(no) - no
    within = yes * no
    value = (np.sum(yes * below) + np.sum(within) / 2) / pairs
    return Score(float(value), float(np.sum(within[~single]) / 2 / pairs))


def binned_correlation(
    counts: np.ndarray, sums: np.ndarray, spread: float, single: np.ndarray
) -> Score:
    """Return Spearman's correlation of values in bins with an amount.

    Args:
        counts: values in each bin.
        sums: of the amount's ranks less their mean, in each bin.
        spread: sum of the squares of the amount's ranks less their mean.
        single: bool[bins], which hold one value only.
    """
    total = counts.sum()
    ranks = middle_ranks(counts) - (total + 1) / 2
    between = float(np.sum(counts * ranks**2))
    if not between or not spread:
        return Score(0.0)
    value = float(np.sum(ranks * sums) / np.sqrt(between * spread))
    # What the ranks within bins, equal or not, may add at the most.
    counts = counts[~single].astype(float)
    within = float(np.sum(counts * (counts**2 - 1)) / 12) / between
    error = np.sqrt(within) + abs(value) * (np.sqrt(1 + within) - 1)
    return Score(value, float(error))
