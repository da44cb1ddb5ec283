"""Which unit is the top unit, and how the others follow."""

import numpy as np
from sklearn.metrics import roc_auc_score

from sdjax.probe import ranking
from sdjax.probe.ranking import rank_units, separations


def test_ties_are_broken_by_class_means():
    features = np.array([[0, 0, 1, 0], [0, 3, 0, 0]], np.float32)
    effects, columns = np.array([[0, 0, 0, -2.0]]), np.array([[0], [1]])
    assert rank_units(effects, features, columns).tolist() == [3, 1, 2, 0]


def test_the_unit_that_is_best_alone_comes_first_and_the_others_by_effect():
    """Unit 0 has the largest effect, and others correct it; unit 4 has no weight."""
    columns = np.array([[0], [0], [0], [1], [1], [1]])
    features = np.array(
        [
            [5, 0, 0, 1, 0],
            [0, 1, 0, 1, 0],
            [0, 3, 1, 1, 0],
            [0, 2, 2, 1, 1],
            [9, 4, 3, 1, 1],
            [9, 5, 2, 1, 1],
        ],
        np.float32,
    )
    effects = np.array([[4.0, -1.0, 0.5, 2.0, 0.0]])
    assert rank_units(effects, features, columns).tolist() == [2, 0, 3, 1, 4]


def test_separations_are_those_of_scikit_learn(monkeypatch):
    monkeypatch.setattr(
        ranking, "_AT_ONCE", 100
    )  # several pieces, the last one shorter
    generator = np.random.default_rng(0)
    features = generator.integers(0, 9, (40, 7)).astype(np.float32)  # with ties
    columns = np.stack([np.arange(40) % 2, np.arange(40) < 11], axis=1)
    expected = [
        [max(a, 1 - a) for a in (roc_auc_score(y, x) for x in features.T)]
        for y in columns.T
    ]
    np.testing.assert_allclose(separations(features, columns), expected, rtol=1e-12)


def test_a_column_with_one_side_alone_is_not_separated():
    features = np.arange(8, dtype=np.float32).reshape(4, 2)
    columns = np.array([[0, 1], [0, 0], [0, 1], [0, 1]])
    assert separations(features, columns)[0].tolist() == [0.5, 0.5]
    assert np.isfinite(separations(features, columns)).all()
