"""The classifier: predictions by definition, saving, and errors of damaged files."""

import json
from dataclasses import replace

import numpy as np
import pytest
from older import without_digests

from sdjax.errors import Damaged, InputError
from sdjax.model.classifier import ARRAYS, Classifier

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(0, 1, (7, 5)).astype(np.float32)


def made(task: str = "binary", **changes) -> Classifier:
    scores = {"binary": 1, "multiclass": 3, "multilabel": 3}[task]
    random = np.random.default_rng(1)
    parts = {
        "task": task,
        "classes": ("bad", "good") if task == "binary" else ("a", "b", "c"),
        "coef": random.normal(0, 1, (scores, 5)),
        "intercept": random.normal(0, 1, scores),
        "thresholds": np.full(scores, 0.5),
        "metadata": {"state": "cell", "params_sha256": "ab", "top_unit": {"index": 3}},
    }
    return Classifier(**(parts | changes))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def scores_of(classifier: Classifier) -> np.ndarray:
    pairs = list(zip(classifier.coef, classifier.intercept, strict=True))
    return np.array([[(row * w).sum() + b for w, b in pairs] for row in FEATURES])


def test_binary():
    classifier = made(thresholds=np.array([0.3]))
    probabilities = classifier.predict_proba(FEATURES)
    assert probabilities.shape == (7, 1) and probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities, sigmoid(scores_of(classifier)))
    predicted = classifier.predict(FEATURES)
    assert predicted.dtype == np.int64 and set(predicted) == {0, 1}
    np.testing.assert_array_equal(predicted, probabilities[:, 0] > 0.3)


def test_multilabel_has_a_threshold_for_each_class():
    thresholds = np.array([0.2, 0.5, 0.9])
    classifier = made("multilabel", thresholds=thresholds)
    probabilities = classifier.predict_proba(FEATURES)
    np.testing.assert_allclose(probabilities, sigmoid(scores_of(classifier)))
    predicted = classifier.predict(FEATURES)
    np.testing.assert_array_equal(predicted, probabilities > thresholds)
    assert predicted.shape == (7, 3) and predicted.dtype == np.int64


def test_multiclass():
    classifier = made("multiclass")
    alone = sigmoid(scores_of(classifier))
    expected = alone / alone.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(classifier.predict_proba(FEATURES), expected)
    np.testing.assert_array_equal(classifier.predict(FEATURES), expected.argmax(1))
    soft = replace(classifier, link="softmax")
    raw = np.exp(scores_of(classifier))
    expected = raw / raw.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(soft.predict_proba(FEATURES), expected)
    np.testing.assert_array_equal(soft.predict(FEATURES), classifier.predict(FEATURES))
    never = replace(classifier, thresholds=np.array([1.0, 0.1, 0.1]))
    assert 0 not in never.predict(FEATURES)


def test_scores_whose_probabilities_underflow():
    classifier = made("multiclass", intercept=np.full(3, -1e4))
    np.testing.assert_allclose(classifier.predict_proba(FEATURES), 1 / 3)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_round_trip(tmp_path, task):
    given = made(task)
    given.save(tmp_path / "new" / "c")
    read = Classifier.load(tmp_path / "new" / "c")
    assert (read.task, read.classes, read.link) == (task, given.classes, "sigmoid")
    assert read.metadata == given.metadata
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(read, name), getattr(given, name))
    np.testing.assert_array_equal(read.predict(FEATURES), given.predict(FEATURES))


def test_the_checkpoint_moves_with_the_classifier(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old" / "run" / "7").mkdir(parents=True)
    made(metadata={"checkpoint": "old/run/7"}).save("old/report/classifier")
    saved = json.loads((tmp_path / "old/report/classifier/classifier.json").read_text())
    assert saved["metadata"]["checkpoint"] == "../../run/7"
    assert Classifier.load("old/report/classifier").metadata["checkpoint"] == (
        "old/run/7"
    )
    (tmp_path / "old").rename(tmp_path / "new")
    read = Classifier.load(tmp_path / "new" / "report" / "classifier")
    assert read.metadata["checkpoint"] == str(tmp_path / "new" / "run" / "7")


def test_an_older_classifier_is_replaced_and_other_files_stay(tmp_path):
    made("multilabel").save(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    made().save(tmp_path)
    assert Classifier.load(tmp_path).task == "binary"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(
        ["classifier.json", "notes.txt", *(f"{name}.npy" for name in ARRAYS)]
    )


def test_an_interrupted_save_leaves_no_classifier_that_loads(tmp_path, monkeypatch):
    made().save(tmp_path)

    def full_disk(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        made("multilabel").save(tmp_path)
    with pytest.raises(InputError, match="no classifier there"):
        Classifier.load(tmp_path)


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("binary", {"task": "ternary"}, "task 'ternary' is none of binary, multi"),
        ("binary", {"link": "softmax"}, "link softmax is for multiclass"),
        ("binary", {"link": "probit"}, "link 'probit' is none of"),
        ("binary", {"classes": ("a",)}, "1 classes for the task binary"),
        ("multiclass", {"classes": ("a", "b")}, "2 rows of features are needed"),
        ("multiclass", {"classes": ("a", "b", "b")}, "not different names"),
        ("multiclass", {"classes": (1, 2, 3)}, "not different names"),
        ("binary", {"coef": np.ones((2, 5))}, r"coef has shape \(2, 5\), 1 rows"),
        ("binary", {"coef": np.ones((1, 0))}, r"coef has shape \(1, 0\)"),
        ("binary", {"intercept": np.ones(2)}, r"intercept has shape \(2,\), not \(1,"),
        ("binary", {"thresholds": np.ones((1, 1))}, r"thresholds has shape \(1, 1\)"),
        ("binary", {"thresholds": np.array([1.5])}, "are not probabilities"),
        ("binary", {"coef": np.full((1, 5), np.nan)}, "coef has values .* not finite"),
    ],
)
def test_inconsistent_parts_are_refused(tmp_path, task, changes, message):
    with pytest.raises(InputError, match=message):
        replace(made(task), **changes)
    if not {"task", "link", "classes"} & set(changes):  # the same in saved arrays
        made(task).save(tmp_path)
        without_digests(tmp_path / "classifier.json")
        for name, array in changes.items():
            np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(InputError, match=f"^{tmp_path}: .*{message}.*again"):
            Classifier.load(tmp_path)


def test_features_of_another_width():
    with pytest.raises(InputError, match=r"shape \(7, 4\), the classifier reads .N, 5"):
        made().predict_proba(FEATURES[:, :4])
    with pytest.raises(InputError, match=r"shape \(5,\)"):
        made().predict(FEATURES[0])


def test_features_of_another_source():
    classifier = made()
    classifier.check_source({"state": "cell", "params_sha256": "ab"}, "a.npz")
    classifier.check_source({"state": "cell", "pooling": "mean"}, "a.npz")
    with pytest.raises(InputError, match="a.npz: params_sha256 is 'cd', .* on 'ab'"):
        classifier.check_source({"params_sha256": "cd"}, "a.npz")
    with pytest.raises(InputError, match="a.npz: state is 'hidden'"):
        classifier.check_source({"state": "hidden"}, "a.npz")


def test_load_refuses_other_folders(tmp_path):
    with pytest.raises(InputError, match="nowhere: no classifier there"):
        Classifier.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: is a file; give a folder"):
        made().save(tmp_path / "file")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "damaged or cut short"),
        ('{"format": "sdjax-cl', "damaged or cut short"),
        ("[1]", "damaged or cut short"),
        ('{"format": "sdjax-classifier-9"}', "format 'sdjax-classifier-9', this"),
        ('{"format": "sdjax-classifier-1"}', "task is None"),
    ],
)
def test_load_refuses_damaged_json(tmp_path, content, message):
    made().save(tmp_path)
    (tmp_path / "classifier.json").write_text(content)
    with pytest.raises(InputError, match=f"classifier.json: {message}.*again"):
        Classifier.load(tmp_path)


@pytest.mark.parametrize("name", ARRAYS)
def test_load_refuses_damaged_arrays(tmp_path, name):
    made().save(tmp_path)
    path = tmp_path / f"{name}.npy"
    whole = path.read_bytes()
    for data in (whole[:-4], whole[:60], b"", b"text"):
        path.write_bytes(data)
        with pytest.raises(Damaged, match=f"{name}.npy: damaged"):
            Classifier.load(tmp_path)
    without_digests(tmp_path / "classifier.json")
    for data in (whole[:-4], whole[:60], b"", b"text"):
        path.write_bytes(data)
        with pytest.raises(Damaged, match=f"{name}.npy: damaged or cut short"):
            Classifier.load(tmp_path)
    np.save(path, np.ones((1, 5), np.float32))
    with pytest.raises(InputError, match=f"{name}.npy: not an array of float64"):
        Classifier.load(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=f"{name}.npy: is missing"):
        Classifier.load(tmp_path)


def test_load_runs_no_pickle(tmp_path):
    made().save(tmp_path)
    np.save(tmp_path / "coef.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="coef.npy: damaged"):
        Classifier.load(tmp_path)
