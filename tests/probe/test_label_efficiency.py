"""Label efficiency: draws are stratified, and each point is a fit of its own."""

import numpy as np
import pytest

from sdjax.probe import bag_of_words, label_efficiency
from sdjax.probe.logistic import fit_few, fit_l1
from sdjax.probe.sweep import Split
from sdjax.probe.targets import Targets

TWO = Targets("binary", ("negative", "positive"), np.array([0.0, 1.0]))
THREE = Targets("multiclass", ("a", "b", "c"), np.array([0.0, 1.0, 2.0]))


def split(count: int, seed: int, targets: Targets = TWO) -> Split:
    """Unit 1 follows the label."""
    random = np.random.default_rng(seed)
    positions = random.integers(0, len(targets.classes), count)
    features = random.normal(0, 1, (count, 6)).astype(np.float32)
    features[:, 1] += 2 * positions
    return Split(features, positions, targets.columns(positions))


def data(targets: Targets = TWO) -> dict[str, Split]:
    counts = {"train": 40, "valid": 60, "test": 80}
    return {n: split(c, seed, targets) for seed, (n, c) in enumerate(counts.items())}


def test_sizes():
    assert label_efficiency.sizes_up_to(7) == [7]
    assert label_efficiency.sizes_up_to(1000) == [10, 30, 100, 300, 1000]
    assert label_efficiency.sizes_up_to(1200) == [10, 30, 100, 300, 1000, 1200]


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1), (0.6, 0.3, 0.1)])
def test_every_prefix_of_a_draw_is_stratified(shares):
    positions = np.repeat(np.arange(len(shares)), [round(200 * s) for s in shares])
    order = label_efficiency.stratified_order(positions, np.random.default_rng(0))
    assert sorted(order) == list(range(len(positions)))
    assert set(positions[order[: len(shares)]]) == set(range(len(shares)))
    for size in (10, 30, 100):
        counts = np.bincount(positions[order[:size]], minlength=len(shares))
        np.testing.assert_allclose(counts, size * np.array(shares), atol=2)


def test_a_draw_depends_on_its_seed_alone():
    positions = np.arange(50) % 2
    first, again, other = (
        label_efficiency.stratified_order(positions, np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_multilabel_draws_are_stratified_by_the_combination_of_labels():
    positions = np.array([[0, 1], [1, 1], [0, 0]] * 20)
    order = label_efficiency.stratified_order(positions, np.random.default_rng(0))
    assert len(np.unique(positions[order[:3]], axis=0)) == 3


@pytest.mark.parametrize("targets", [TWO, THREE])
def test_each_point_is_the_accuracy_of_its_draws(targets):
    splits = data(targets)
    found = label_efficiency.data_efficiency(
        targets, splits, 1, 0.75, draws=3, seed=4, n_jobs=1
    )
    points = found.curves["top unit"]
    assert [(p.texts, len(p.accuracy)) for p in points] == [(10, 3), (30, 3), (40, 1)]
    test = splits["test"]
    for draw in range(3):
        random = np.random.default_rng([4, draw])
        rows = label_efficiency.stratified_order(splits["train"].positions, random)[:30]
        values = splits["train"].features[rows][:, [1]]
        fits = [fit_few(values, y) for y in splits["train"].columns[rows].T]
        scores = [test.features[:, [1]] @ f.weights + f.intercept for f in fits]
        said = np.argmax(scores, 0) if targets is THREE else scores[0] > 0
        assert points[1].accuracy[draw] == np.mean(said == test.positions)
    assert points[2].accuracy[0] > 0.7
    assert found.curves["all units"][2].accuracy == (0.75,)
    assert np.mean(found.curves["all units"][1].accuracy) > 0.7


def test_result_does_not_depend_on_the_number_of_processes():
    splits = data()
    counts = bag_of_words.count_words(
        {n: ["a b", "c"] * (len(s.positions) // 2) for n, s in splits.items()}
    )
    one, two = (
        label_efficiency.data_efficiency(
            TWO, splits, 1, 0.9, counts=counts, draws=2, n_jobs=n
        )
        for n in (1, 2)
    )
    assert one == two and set(one.curves) == {"all units", "top unit", "bag of words"}


def test_labels_of_one_class_give_a_constant():
    features = np.random.default_rng(0).normal(size=(9, 3))
    for fit in (fit_few, lambda x, y: fit_l1(x, y, 1.0)):
        always, never = fit(features, np.ones(9)), fit(features, np.zeros(9))
        assert not always.weights.any() and always.intercept == pytest.approx(2.302585)
        assert never.intercept == pytest.approx(-always.intercept)
