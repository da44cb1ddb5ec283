"""The probe finds a planted unit and chooses what a brute-force search would."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sdjax import linear, probe
from sdjax.errors import InputError
from sdjax.featurefile import FeatureSet

UNIT, WIDTH = 11, 24
METADATA = {"checkpoint": "runs/x", "step": 7, "state": "cell"}


def planted(count: int, seed: int, sign: int = 1, noise: float = 0.8) -> FeatureSet:
    """Noise, one unit that follows the label about 0.5, and two that do so weakly."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    features = random.normal(0, 0.5, (count, WIDTH))
    side = 2 * labels - 1
    features[:, UNIT] = 0.5 + sign * side + random.normal(0, noise, count)
    features[:, [3, 20]] += 0.2 * side[:, None]
    return FeatureSet(
        features=features.astype(np.float32),
        labels=labels.astype(np.float32),
        ids=np.arange(count),
        texts=[f"text {i}" for i in range(count)],
        metadata=dict(METADATA),
    )


def splits(sign: int = 1) -> list[FeatureSet]:
    return [planted(400, 0, sign), planted(150, 1, sign), planted(200, 2, sign)]


@pytest.mark.parametrize("sign", [1, -1])
def test_finds_the_planted_unit_with_its_sign(sign):
    result = probe.run_probe(*splits(sign), n_jobs=1)
    top = result.top_unit
    assert top.index == result.order[0] == UNIT
    assert top.sign == sign == np.sign(top.l1_weight) == np.sign(top.weight)
    assert top.threshold == pytest.approx(0.5, abs=0.15)
    assert set(result.order[1:3]) == {3, 20}
    lower, upper = ("negative", "positive")[::sign]
    assert top.quantiles[lower]["0.50"] < 0 < 1 < top.quantiles[upper]["0.50"]
    for split in probe.SPLITS:
        assert result.accuracy[split] > 0.85 > 0.6 > result.majority[split]
        assert top.accuracy[split] > 0.8


def test_every_accuracy_is_that_of_its_definition():
    train, valid, test = splits(-1)
    result = probe.run_probe(train, valid, test, n_jobs=1)
    said = result.top_unit.sign * (test.features[:, UNIT] - result.top_unit.threshold)
    assert result.top_unit.accuracy["test"] == np.mean((said > 0) == test.labels)
    decision = test.features @ result.weights + result.intercept
    assert result.accuracy["test"] == np.mean((decision > 0) == test.labels)
    assert result.top_k[0].accuracy == result.top_unit.accuracy
    assert result.majority["test"] == max(test.labels.mean(), 1 - test.labels.mean())
    assert result.counts["test"]["positive"] == test.labels.sum()
    assert result.nonzero == np.count_nonzero(result.weights)
    ks = [point.k for point in result.top_k]
    assert ks[-1] == result.nonzero
    assert ks[:-1] == [2**i for i in range(len(ks) - 1)]


def test_sweep_chooses_what_brute_force_would():
    train, valid, test = splits()
    scores, weights = [], []
    for strength in probe.STRENGTHS:
        model = LogisticRegression(
            l1_ratio=1, solver="liblinear", C=strength, random_state=0, max_iter=1000
        ).fit(train.features, train.labels)
        scores.append(model.score(valid.features, valid.labels))
        weights.append(model.coef_[0])
    best = int(np.argmax(scores))  # the first of equal ones has the smallest strength
    result = probe.run_probe(train, valid, test, n_jobs=1)
    assert [point.valid_accuracy for point in result.sweep] == scores
    assert result.strength == probe.STRENGTHS[best] == result.sweep[best].strength
    np.testing.assert_array_equal(result.weights, weights[best])
    assert probe.accuracy_at(train, test, result.strength) == result.accuracy["test"]


def test_ties_go_to_the_smaller_strength():
    points = [
        probe.SweepPoint(strength, accuracy, 1, True)
        for strength, accuracy in ((0.1, 0.7), (0.2, 0.9), (0.4, 0.9), (0.8, 0.8))
    ]
    assert probe.choose_strength(points) == 1
    assert probe.choose_strength(points[::-1]) == 2


def test_result_does_not_depend_on_the_number_of_processes():
    one = probe.run_probe(*splits(), strengths=probe.STRENGTHS[::2], n_jobs=1)
    two = probe.run_probe(*splits(), strengths=probe.STRENGTHS[::2], n_jobs=2)
    np.testing.assert_array_equal(one.weights, two.weights)
    assert one.as_json() == two.as_json()


def test_only_train_is_fitted():
    train, valid, test = splits()
    given = probe.run_probe(train, valid, test, strengths=[0.25], n_jobs=1)
    others = (planted(80, 8), planted(90, 9, sign=-1))
    changed = probe.run_probe(train, *others, strengths=[0.25], n_jobs=1)
    np.testing.assert_array_equal(given.weights, changed.weights)
    assert given.top_unit.threshold == changed.top_unit.threshold


def test_all_zero_weights_rank_by_class_means():
    result = probe.run_probe(*splits(-1), strengths=[1e-6], n_jobs=1)
    assert result.nonzero == 0
    assert result.top_unit.index == UNIT and result.top_unit.sign == -1
    assert result.top_unit.l1_weight == 0
    assert [point.k for point in result.top_k] == [1]
    assert result.as_json()["nonzero_weights"] == []


def test_rank_units_breaks_ties_by_class_means():
    features = np.array([[0, 0, 1, 0], [0, 3, 0, 0]], np.float32)
    order = probe.rank_units(np.array([0, 0, 0, -2.0]), features, np.array([0, 1]))
    assert order.tolist() == [3, 1, 2, 0]


def test_few_units_are_fitted_alike_at_any_scale():
    data = planted(300, 0)
    small = linear.fit_few(data.features[:, [UNIT, 3]] * 1e-3, data.labels)
    large = linear.fit_few(data.features[:, [UNIT, 3]] * 1e3, data.labels)
    np.testing.assert_allclose(small.weights, large.weights * 1e6, rtol=1e-3)
    assert small.intercept == pytest.approx(large.intercept, rel=1e-3)


def test_a_fit_that_stops_early_says_so_without_a_warning(monkeypatch):
    monkeypatch.setattr(linear, "_MAX_ITERATIONS", 1)
    data = planted(300, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not linear.fit_l1(data.features, data.labels, 1.0).converged


def test_result_is_json():
    result = probe.run_probe(*splits(), n_jobs=1)
    data = json.loads(json.dumps(result.as_json()))
    assert data["top_unit"]["index"] == UNIT
    assert data["units"] == WIDTH
    assert len(data["nonzero_weights"]) == data["nonzero"] == result.nonzero
    assert data["nonzero_weights"][0]["unit"] == UNIT
    assert [point["strength"] for point in data["sweep"]] == list(probe.STRENGTHS)


@pytest.mark.parametrize("sign", [1, -1])
def test_extreme_examples(sign):
    values = np.array([0.3, -2, 5, 1, -1, 4, 0], np.float32)
    data = replace(planted(7, 0), features=sign * np.tile(values[:, None], (1, 3)))
    assert probe.extreme_examples(data, 2, sign, count=2) == ([2, 5], [1, 4])
    positive, negative = probe.extreme_examples(data, 2, sign, count=9)
    assert len(positive) == len(negative) == 3
    assert not set(positive) & set(negative)


def with_labels(data: FeatureSet, labels) -> FeatureSet:
    return replace(data, labels=None if labels is None else np.float32(labels))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "valid: no labels; .*--label-key"),
        ([0, 1, np.nan, 1], r"valid: no label in row 2 \(1 of 4 rows\)"),
        ([1, 2, 5, 1], r"valid: labels must be 0 .* found 1, 2, 5;"),
        ([0, 1, 0.5, 1], "found 0, 0.5, 1;"),
        ([1, 1, 1, 1], "valid: every label is 1; .* both classes"),
    ],
)
def test_labels_that_cannot_be_probed(labels, message):
    train, _, test = splits()
    with pytest.raises(InputError, match=message):
        probe.run_probe(train, with_labels(planted(4, 1), labels), test, n_jobs=1)


def test_features_that_cannot_be_probed():
    train, valid, test = splits()

    def refused(message, valid=valid, train=train):
        with pytest.raises(InputError, match=message):
            probe.run_probe(train, valid, test, n_jobs=1)

    narrow = replace(valid, features=valid.features[:, :20])
    refused("valid: 20 features per text, train has 24", narrow)
    other = replace(valid, metadata={**METADATA, "checkpoint": "runs/y"})
    refused("valid: features have checkpoint 'runs/y', train has 'runs/x'", other)
    other = replace(valid, metadata={**METADATA, "step": 8})
    refused("valid: features have step 8, train has 7", other)
    broken = valid.features.copy()
    broken[5, 2] = np.nan
    refused("valid: features of row 5 are not finite", replace(valid, features=broken))
    refused("valid: no texts", planted(0, 0))
    constant = replace(train, features=np.ones_like(train.features))
    refused("train: the features are the same for every text", train=constant)
    other = replace(test, metadata={**METADATA, "step": 1})
    with pytest.raises(InputError, match="test: features have step 1, train has 7"):
        probe.accuracy_at(train, other, 1.0)
