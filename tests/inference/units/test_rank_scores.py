"""Scores against scikit-learn and SciPy, exactly and in bins."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from sdjax.inference.units.bins import BINS, UnitBins, centred_ranks
from sdjax.inference.units.choice import Amounts
from sdjax.inference.units.held_out import HeldOut
from sdjax.inference.units.rank_scores import auc, rank_correlation

RNG = np.random.default_rng(0)
AMOUNT = RNG.integers(0, 30, 20_000)
YES = RNG.random(20_000) < 0.05
# Heavy tails, many equal values, and one that never moves.
UNITS = np.stack(
    [
        RNG.standard_t(2, 20_000) + 0.1 * AMOUNT + YES,
        np.round(RNG.normal(size=20_000) * 2 - YES),
        np.full(20_000, 0.25),
    ]
).astype(np.float32)


@pytest.mark.parametrize("unit", range(3))
def test_the_exact_scores(unit):
    assert auc(UNITS[unit], YES) == pytest.approx(roc_auc_score(YES, UNITS[unit]))
    expected = spearmanr(UNITS[unit], AMOUNT).statistic if unit < 2 else 0
    assert rank_correlation(UNITS[unit], AMOUNT) == pytest.approx(expected)


def known(values) -> Amounts:
    return Amounts(*np.unique(np.float32(values), return_counts=True))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("unit", range(3))
def test_the_scores_of_bins_are_off_by_no_more_than_they_say(unit, exact, monkeypatch):
    monkeypatch.setattr(
        "sdjax.inference.units.held_out.EXACT_UP_TO", 20_000 if exact else 0
    )
    properties = np.stack([YES, AMOUNT]).astype(np.float32)
    bins = UnitBins(UNITS[:, ::7])
    pairs = [(unit, 0), (unit, 1)]
    scores = HeldOut(pairs, ["yes or no", "amount"], [*map(known, properties)], bins)
    for part in np.split(np.arange(20_000), 5):
        scores.add([0, 1, 2], UNITS[:, part], properties[:, part])
    expected = auc(UNITS[unit], YES), rank_correlation(UNITS[unit], AMOUNT)
    for pair, right in zip(pairs, expected, strict=True):
        found = scores.score(pair)
        assert abs(found.value - right) <= found.error + 1e-12
        # Repeated values have bins of their own, so they cost nothing.
        assert found.error < 2e-3
        assert found.error == 0 or not exact
    no, yes = scores.class_means(pairs[0])
    assert no == pytest.approx(UNITS[unit][~YES].mean(dtype=float), rel=1e-5)
    assert yes == pytest.approx(UNITS[unit][YES].mean(dtype=float), rel=1e-5)


def test_bins_keep_the_order_of_values_and_share_them_evenly():
    bins = UnitBins(UNITS)
    order = np.argsort(UNITS[0], kind="stable")
    found = bins.of(0, UNITS[0])
    assert (np.diff(found[order].astype(int)) >= 0).all()
    assert np.bincount(found, minlength=BINS).max() < 200
    # Beyond the sample values are in the first or the last bin.
    beyond = np.array([-1e9, 1e9], np.float32)
    assert bins.of(0, beyond).tolist() == [found.min(), found.max()]
    quickly = bins.quickly(0, UNITS[0])
    assert (np.diff(quickly[order].astype(int)) >= 0).all()
    # Tails are wide, so steps of the range are coarse beside the bins of the middle.
    assert np.abs(quickly.astype(int) - found).max() < 200
    assert bins.quickly(0, beyond).tolist() == [found.min(), found.max()]


def test_a_repeated_value_is_alone_in_its_bin():
    bins = UnitBins(UNITS)
    for unit, value in ((1, np.float32(1)), (2, np.float32(0.25))):
        near = [np.nextafter(value, x, dtype=np.float32) for x in (-np.inf, np.inf)]
        below, at, above = bins.of(unit, np.array([near[0], value, near[1]]))
        assert below < at < above
        assert bins.single(unit)[at]
    assert bins.single(0).sum() == 0


def test_ranks_of_bins_have_a_mean_of_zero_and_the_spread_they_say():
    counts = np.array([[3, 0, 2, 5], [10, 0, 0, 0]])
    ranks, spread = centred_ranks(counts)
    every = [np.repeat(ranks[unit], counts[unit]) for unit in range(2)]
    np.testing.assert_allclose([x.mean() for x in every], 0, atol=1e-7)
    np.testing.assert_allclose([x.std() for x in every], spread, rtol=1e-6)
