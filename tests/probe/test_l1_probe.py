"""The probe finds a planted unit and agrees with a brute-force search."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, matthews_corrcoef

from sdjax.features.file import FeatureSet
from sdjax.model.classifier import Classifier
from sdjax.probe import l1_probe, logistic
from sdjax.probe.sweep import SweepPoint, best_threshold, choose_C

UNIT, WIDTH = 11, 24
METADATA = {"checkpoint": "runs/x", "step": 7, "state": "cell"}


def planted(count: int, seed: int, sign: int = 1, noise: float = 0.8) -> FeatureSet:
    """Make noise with one unit that follows the label strongly and two weakly."""
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
    result = l1_probe.run_probe(*splits(sign), n_jobs=1)
    top = result.top_unit
    assert top.index == result.order[0] == UNIT
    assert top.sign == sign == np.sign(top.l1_weight) == np.sign(top.weight)
    assert top.threshold == pytest.approx(0.5, abs=0.15)
    assert set(result.order[1:3]) == {3, 20}
    assert result.class_units == (top,) and top.target == "positive"
    lower, upper = ("negative", "positive")[::sign]
    assert top.quantiles[lower]["0.50"] < 0 < 1 < top.quantiles[upper]["0.50"]
    for split in l1_probe.SPLITS:
        assert result.accuracy[split] > 0.85 > 0.6 > result.majority[split]
        assert top.accuracy[split] > 0.8


def test_accuracies_match_their_definitions():
    train, valid, test = splits(-1)
    result = l1_probe.run_probe(train, valid, test, n_jobs=1)
    said = result.top_unit.sign * (test.features[:, UNIT] - result.top_unit.threshold)
    assert result.top_unit.accuracy["test"] == np.mean((said > 0) == test.labels)
    (weights,), (intercept,) = result.classifier.coef, result.classifier.intercept
    decision = test.features @ weights + intercept
    assert result.accuracy["test"] == np.mean((decision > 0) == test.labels)
    assert result.top_k[0].accuracy == result.top_unit.accuracy
    assert result.majority["test"] == max(test.labels.mean(), 1 - test.labels.mean())
    assert result.counts["test"]["positive"] == test.labels.sum()
    assert result.nonzero == np.count_nonzero(weights)
    ks = [point.k for point in result.top_k]
    assert ks[-1] == result.nonzero
    assert ks[:-1] == [2**i for i in range(len(ks) - 1)]


def test_sweep_chooses_what_brute_force_would():
    train, valid, test = splits()
    scores, weights = [], []
    for C in l1_probe.C_VALUES:
        model = LogisticRegression(
            l1_ratio=1, solver="liblinear", C=C, random_state=0, max_iter=1000
        ).fit(train.features, train.labels)
        scores.append(model.score(valid.features, valid.labels))
        weights.append(model.coef_[0])
    best = int(np.argmax(scores))  # the first of equal ones has the smallest C
    result = l1_probe.run_probe(train, valid, test, n_jobs=1)
    assert [point.valid_score for point in result.sweep] == scores
    assert result.C == l1_probe.C_VALUES[best] == result.sweep[best].C
    np.testing.assert_array_equal(result.classifier.coef[0], weights[best])
    assert l1_probe.accuracy_at(train, test, result.C) == result.accuracy["test"]


def test_ties_go_to_the_smaller_C():
    points = [
        SweepPoint(C, accuracy, 1, True)
        for C, accuracy in ((0.1, 0.7), (0.2, 0.9), (0.4, 0.9), (0.8, 0.8))
    ]
    assert choose_C(points) == 1
    assert choose_C(points[::-1]) == 2


def test_result_does_not_depend_on_the_number_of_processes():
    one = l1_probe.run_probe(*splits(), C_values=l1_probe.C_VALUES[::2], n_jobs=1)
    two = l1_probe.run_probe(*splits(), C_values=l1_probe.C_VALUES[::2], n_jobs=2)
    np.testing.assert_array_equal(one.classifier.coef, two.classifier.coef)
    assert one.as_json() == two.as_json()


def test_only_train_is_fitted():
    train, valid, test = splits()
    original = l1_probe.run_probe(train, valid, test, C_values=[0.25], n_jobs=1)
    others = (planted(80, 8), planted(90, 9, sign=-1))
    changed = l1_probe.run_probe(train, *others, C_values=[0.25], n_jobs=1)
    np.testing.assert_array_equal(original.classifier.coef, changed.classifier.coef)
    assert original.top_unit.threshold == changed.top_unit.threshold


def test_all_zero_weights_rank_by_class_means():
    result = l1_probe.run_probe(*splits(-1), C_values=[1e-6], n_jobs=1)
    assert result.nonzero == 0
    assert result.top_unit.index == UNIT and result.top_unit.sign == -1
    assert result.top_unit.l1_weight == 0
    assert [point.k for point in result.top_k] == [1]
    assert result.as_json()["nonzero_weights"] == []


def test_fit_few_does_not_depend_on_the_scale_of_the_features():
    data = planted(300, 0)
    small = logistic.fit_few(data.features[:, [UNIT, 3]] * 1e-3, data.labels)
    large = logistic.fit_few(data.features[:, [UNIT, 3]] * 1e3, data.labels)
    np.testing.assert_allclose(small.weights, large.weights * 1e6, rtol=1e-3)
    assert small.intercept == pytest.approx(large.intercept, rel=1e-3)


def test_a_fit_that_did_not_converge_is_flagged_without_a_warning(monkeypatch):
    monkeypatch.setattr(logistic, "_MAX_ITERATIONS", 1)
    data = planted(300, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not logistic.fit_l1(data.features, data.labels, 1.0).converged


def test_a_large_weight_on_a_nearly_constant_unit_does_not_make_it_the_top_unit():
    data = splits()
    for split in data:
        split.features[:, 7] = 1e-3 * (
            split.labels + np.random.default_rng(3).normal(0, 0.5, len(split))
        )
    result = l1_probe.run_probe(*data, C_values=[1e5], n_jobs=1)
    assert np.argmax(np.abs(result.classifier.coef)) == 7
    assert result.top_unit.index == UNIT
    sides = [data[0].features[data[0].labels == label] for label in (0, 1)]
    apart = np.subtract(*(side.mean(axis=0, dtype=np.float64) for side in sides))
    expected = result.classifier.coef * np.abs(apart)
    np.testing.assert_allclose(result.effects, expected)


def test_a_unit_with_equal_class_means_is_not_the_top_unit():
    """It may still get a weight, because it can cancel noise of another unit."""
    data = splits()
    for n, split in enumerate(data):
        noise = np.random.default_rng(n).normal(0, 50, len(split)).astype(np.float32)
        for label in (0, 1):
            noise[split.labels == label] -= noise[split.labels == label].mean()
        split.features[:, 7] = noise
        split.features[:, UNIT] += noise
    result = l1_probe.run_probe(*data, C_values=[1.0], n_jobs=1)
    spread = np.abs(result.classifier.coef[0]) * data[0].features.std(axis=0)
    assert np.argmax(spread) in (7, UNIT) and spread[7] > 0.5 * spread[UNIT]
    effects = np.abs(result.effects[0])
    assert effects[7] < 0.3 * effects[UNIT]


def test_the_ablation_refits_without_the_top_units():
    train, valid, test = splits()
    result = l1_probe.run_probe(train, valid, test, C_values=[0.25], n_jobs=1)
    assert [p.k for p in result.without_top_k] == [
        k for k in (1, 4, 16) if k <= result.nonzero
    ]
    assert len(result.without_top_k) >= 2
    for point in result.without_top_k[:2]:
        kept = np.sort(result.order[point.k :])
        without = [
            replace(split, features=split.features[:, kept])
            for split in (train, valid, test)
        ]
        again = l1_probe.run_probe(*without, C_values=[0.25], n_jobs=1)
        assert point.accuracy == again.accuracy
    assert result.without_top_k[0].accuracy["test"] < 0.75 < result.accuracy["test"]


def test_the_saved_classifier_has_the_reported_accuracy(tmp_path):
    train, valid, test = splits(-1)
    result = l1_probe.run_probe(train, valid, test, n_jobs=1)
    result.classifier.save(tmp_path / "c")
    read = Classifier.load(tmp_path / "c")
    right = read.predict(test.features) == test.labels
    assert right.mean() == result.accuracy["test"]
    assert read.classes == ("negative", "positive")
    top = read.metadata["top_unit"]
    assert (top["index"], top["sign"]) == (UNIT, -1)
    assert top["threshold"] == result.top_unit.threshold
    assert set(top["quantiles"]) == {"negative", "positive"}
    assert read.metadata["step"] == 7 and read.metadata["state"] == "cell"
    scores = read.metadata["figures"]["scores"]["test"]
    assert scores["accuracy"] == result.accuracy["test"]


def several(count: int, seed: int, multilabel: bool) -> FeatureSet:
    """Make three classes, labelled 1, 2, 5 or in columns; unit 2c follows class c."""
    random = np.random.default_rng(seed)
    features = random.normal(0, 0.5, (count, 8)).astype(np.float32)
    if multilabel:
        columns = random.integers(0, 2, (count, 3))
        columns[:, 2] &= random.integers(0, 2, count)  # rarer
    else:
        place = np.arange(count) % 3
        columns = np.eye(3, dtype=int)[place]
    features[:, [0, 2, 4]] += 2 * columns
    labels = columns if multilabel else np.array([1, 2, 5])[place]
    return replace(planted(count, 0), features=features, labels=np.float32(labels))


def test_several_classes():
    data = [several(n, seed, False) for seed, n in enumerate((300, 90, 120))]
    result = l1_probe.run_probe(*data, n_jobs=1)
    assert result.targets.task == "multiclass"
    assert result.classifier.classes == ("1", "2", "5")
    predicted = result.classifier.predict(data[2].features)
    truth = np.searchsorted([1, 2, 5], data[2].labels)
    scores = result.scores["test"]
    assert scores["accuracy"] == np.mean(predicted == truth) > 0.85
    assert result.majority["test"] == pytest.approx(1 / 3)
    assert scores["matthews"] == pytest.approx(matthews_corrcoef(truth, predicted))
    for place, name in enumerate(result.targets.classes):
        true, said = truth == place, predicted == place
        f1 = 2 * np.sum(true & said) / (true.sum() + said.sum())
        assert scores["f1"][name] == pytest.approx(f1)
    assert scores["f1_macro"] == pytest.approx(np.mean(list(scores["f1"].values())))
    assert [unit.target for unit in result.class_units] == ["1", "2", "5"]
    # The unit of a class is its own, or that of another class with negative sign.
    for place, unit in enumerate(result.class_units):
        assert unit.index in (0, 2, 4)
        assert unit.sign == (1 if unit.index == 2 * place else -1)
    assert result.top_unit in result.class_units
    assert set(result.top_unit.quantiles) == {
        f"not {result.top_unit.target}",
        result.top_unit.target,
    }
    assert json.loads(json.dumps(result.as_json()))["task"] == "multiclass"


def test_several_labels_at_once():
    data = [several(n, seed, True) for seed, n in enumerate((300, 90, 120))]
    data = [replace(s, metadata={"label_keys": ["a", "b", "c"]}) for s in data]
    result = l1_probe.run_probe(*data, n_jobs=1)
    assert result.targets.task == "multilabel"
    assert result.classifier.classes == ("a", "b", "c")
    assert result.counts["train"]["c"] == data[0].labels[:, 2].sum()
    predicted = result.classifier.predict(data[2].features)
    every = np.mean((predicted == data[2].labels).all(axis=1))
    assert result.accuracy["test"] == every > 0.6 > result.majority["test"]
    assert all(value > 0.8 for value in result.scores["test"]["f1"].values())
    assert [unit.index for unit in result.class_units] == [0, 2, 4]
    thresholds = result.classifier.thresholds
    assert thresholds.shape == (3,) and not np.all(thresholds == 0.5)


def test_the_threshold_of_best_f1_agrees_with_brute_force():
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 60) == 0
    probabilities = np.round(
        np.clip(0.2 + 0.3 * labels + random.normal(0, 0.2, 60), 0, 1), 2
    )
    chosen = best_threshold(probabilities, labels)
    cuts = np.arange(-0.005, 1, 0.01)
    scores = [f1_score(labels, probabilities > cut, zero_division=0) for cut in cuts]
    assert f1_score(labels, probabilities > chosen) == max(scores)
    assert 0 <= chosen <= 1


def test_a_unit_of_several_poolings_is_named_by_both():
    metadata = {**METADATA, "units": WIDTH // 2, "pooling": ["last", "mean"]}
    data = [replace(split, metadata=metadata) for split in splits()]
    result = l1_probe.run_probe(*data, C_values=[0.25], n_jobs=1)
    assert (result.top_unit.index, result.top_unit.name) == (UNIT, "11 (last)")
    moved = [replace(s, features=np.roll(s.features, 4, axis=1)) for s in data]
    top = l1_probe.run_probe(*moved, C_values=[0.25], n_jobs=1).top_unit
    assert (top.index, top.name) == (UNIT + 4, "3 (mean)")


def test_result_is_json():
    result = l1_probe.run_probe(*splits(), n_jobs=1)
    data = json.loads(json.dumps(result.as_json()))
    assert data["top_unit"]["index"] == UNIT
    assert data["units"] == WIDTH
    assert len(data["nonzero_weights"]) == data["nonzero"] == result.nonzero
    assert data["nonzero_weights"][0]["unit"] == UNIT
    assert [point["C"] for point in data["sweep"]] == list(l1_probe.C_VALUES)


@pytest.mark.parametrize("sign", [1, -1])
def test_extreme_examples(sign):
    values = np.array([0.3, -2, 5, 1, -1, 4, 0], np.float32)
    data = replace(planted(7, 0), features=sign * np.tile(values[:, None], (1, 3)))
    assert l1_probe.extreme_examples(data, 2, sign, count=2) == ([2, 5], [1, 4])
    positive, negative = l1_probe.extreme_examples(data, 2, sign, count=9)
    assert len(positive) == len(negative) == 3
    assert not set(positive) & set(negative)
