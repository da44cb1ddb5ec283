"""The task is inferred from the labels; labels that fit no task are refused."""

from dataclasses import replace

import numpy as np
import pytest

from sdjax.errors import InputError
from sdjax.features.file import FeatureSet
from sdjax.probe import l1_probe, targets

METADATA = {"checkpoint": "runs/x", "step": 7, "state": "cell"}


def features_of(labels, seed: int = 0, **metadata) -> FeatureSet:
    count = 4 if labels is None else len(labels)
    return FeatureSet(
        features=np.random.default_rng(seed).normal(size=(count, 5)).astype("f4"),
        labels=None if labels is None else np.float32(labels),
        ids=np.arange(count),
        texts=["text"] * count,
        metadata=METADATA | metadata,
    )


def read(*labels) -> targets.Targets:
    names = ("train", "valid", "test")
    return targets.read_targets(
        dict(zip(names, map(features_of, labels), strict=False))
    )


@pytest.mark.parametrize(
    ("labels", "task", "classes"),
    [
        ([0, 1, 1, 0], "binary", ("negative", "positive")),
        ([-1, 1, 1, -1], "binary", ("negative", "positive")),
        ([[0], [1], [1], [0]], "binary", ("negative", "positive")),
        ([1, 5, 5, 1], "binary", ("1", "5")),
        ([3, 1, 2, 1, 2, 3], "multiclass", ("1", "2", "3")),
        ([[0, 1], [1, 0], [1, 1], [0, 0]], "multilabel", ("label 0", "label 1")),
    ],
)
def test_the_task_follows_from_the_labels(labels, task, classes):
    found = read(labels)
    assert (found.task, found.classes) == (task, classes)


def test_positions_and_columns():
    several = read([3, 1, 2, 1, 2, 3])
    positions = several.positions(np.float32([2, 3, 1]))
    assert positions.tolist() == [1, 2, 0]
    assert several.columns(positions).tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert several.names(positions[1]) == "3"
    two = read([0, 1, 1, 0])
    assert two.columns(np.array([0, 1])).tolist() == [[0], [1]]
    many = targets.Targets("multilabel", ("a", "b"))
    assert many.names(np.array([1, 1])) == "a, b" and many.names([0, 0]) == "none"
    assert many.majority(np.array([[0, 1], [0, 1], [1, 1]])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "valid: no labels; .*--label-key"),
        ([0, 1, np.nan, 1], r"valid: no label in row 2 \(1 of 4 rows\)"),
        ([1, 0, 5, 1], "valid: labels must be 0, 1 .* but there are 5;"),
        ([0, 1, 0.5, 1], "but there are 0.5;"),
        ([1, 1, 1, 1], "valid: 0 texts are labelled 'negative', at least 1 is needed"),
        ([[0, 1], [1, 0]], "valid: labels in 2 columns, one is needed"),
    ],
)
def test_labels_unlike_those_of_train(labels, message):
    with pytest.raises(InputError, match=message):
        read([0, 1, 0, 1], labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 1, 1, 1], "train: every label is 1; .* at least two classes"),
        ([0, 1, 1, 1], "train: 1 texts are labelled 'negative', at least 2 are needed"),
        ([1, 1, 2, 2, 3], "train: 1 texts are labelled '3', at least 2 are needed"),
        ([0, 0.5, 1, 0.25], "must be whole numbers, but there are 0, 0.25, 0.5, 1;"),
        (np.arange(101), "train: 101 different labels are more than the 100 classes"),
        ([[0, 1], [0, 1], [1, 1], [1, 1]], "0 texts are labelled 'not label 1'"),
        ([[0, 2], [1, 1], [0, 0], [1, 1]], "labels must be 0 or 1 .* but there are 2"),
        ([[0, np.nan], [1, 1]], r"train: no label in row 0 \(1 of 2 rows\)"),
    ],
)
def test_labels_that_fit_no_task(labels, message):
    with pytest.raises(InputError, match=message):
        read(labels)


def test_a_class_that_a_split_lacks():
    with pytest.raises(InputError, match="test: 0 texts are labelled '3', at least 1"):
        read([1, 2, 3, 1, 2, 3], [1, 2, 3], [1, 2, 2])
    columns = [[0, 1], [1, 0], [1, 1], [0, 0]]
    with pytest.raises(InputError, match=r"valid: labels of shape \(2,\), 2 columns"):
        read(columns, [0, 1])


def test_features_that_do_not_belong_together():
    labels = [0, 1, 0, 1]
    train, test = features_of(labels), features_of(labels, 2)

    def refused(message, valid, train=train):
        with pytest.raises(InputError, match=message):
            l1_probe.run_probe(train, valid, test, n_jobs=1)

    valid = features_of(labels, 1)
    narrow = replace(valid, features=valid.features[:, :3])
    refused("valid: 3 features per text, train has 5", narrow)
    other = features_of(labels, 1, checkpoint="runs/y")
    refused("valid: features have checkpoint 'runs/y', train has 'runs/x'", other)
    refused("valid: features have step 8, train has 7", features_of(labels, 1, step=8))
    refused("valid: features have pooling 'max'", features_of(labels, 1, pooling="max"))
    broken = valid.features.copy()
    broken[3, 2] = np.nan
    refused("valid: features of row 3 are not finite", replace(valid, features=broken))
    refused("valid: no texts", features_of([]))
    constant = replace(train, features=np.ones_like(train.features))
    refused("train: the features are the same for every text", valid, constant)
    with pytest.raises(InputError, match="test: features have step 1, train has 7"):
        l1_probe.accuracy_at(train, features_of(labels, 2, step=1), 1.0)


def test_a_checkpoint_that_moved_is_known_by_its_parameters():
    labels = [0, 1, 0, 1]
    train = features_of(labels, checkpoint="old", params_sha256="ab")
    valid = features_of(labels, checkpoint="new", params_sha256="ab")
    targets.read_targets({"train": train, "valid": valid})
    other = features_of(labels, checkpoint="old", params_sha256="cd")
    with pytest.raises(InputError, match="params_sha256 'cd', train has 'ab'"):
        targets.read_targets({"train": train, "valid": other})


def test_labels_that_are_words_are_called_by_them():
    train = features_of([0, 1, 0, 1], classes=("bad", "good"))
    found = targets.read_targets({"train": train})
    assert (found.task, found.classes) == ("binary", ("bad", "good"))
    three = features_of([0, 2, 2, 0, 3, 3], classes=("a", "b", "c", "d"))
    found = targets.read_targets({"train": three})
    assert (found.task, found.classes) == ("multiclass", ("a", "c", "d"))
    assert found.positions_of(three).tolist() == [0, 1, 1, 0, 2, 2]


def test_words_in_another_order_are_matched_by_name():
    """As where test lacks a class, or was read with other --classes."""
    train = features_of([0, 1, 0, 1], classes=("bad", "good"))
    other = features_of([1, 0, 0, 1], classes=("good", "bad"))
    found = targets.read_targets({"train": train, "test": other})
    assert found.positions_of(other).tolist() == [0, 1, 1, 0]
    strange = features_of([0, 1, 1, 1], classes=("bad", "fine"))
    with pytest.raises(
        InputError, match="test: labels must be bad, good.*there are fine"
    ):
        targets.read_targets({"train": train, "test": strange})
    with pytest.raises(InputError, match="words .bad, good. in one .*--classes bad,g"):
        targets.read_targets({"train": train, "test": features_of([0, 1, 0, 1])})


def test_parts_without_labels_keep_their_error():
    train = features_of([0, 1, 0, 1], classes=("bad", "good"))
    unlabelled = features_of([-1] * 4, classes=("bad", "good"))
    with pytest.raises(InputError, match="there are -1"):
        targets.read_targets({"train": train, "test": unlabelled})
    with pytest.raises(InputError, match="every label is -1"):
        targets.read_targets({"train": unlabelled})
