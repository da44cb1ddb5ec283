"""`sdjax finetune` on a tiny run: what it saves, what it refuses, how it stops."""

import csv
import json

import numpy as np
import pytest
from fixtures_run import assert_refused

from sdjax.checkpoints.load import checkpoint_steps, load_model
from sdjax.features.featurizer import TextFeaturizer
from sdjax.finetune import head
from sdjax.model.classifier import Classifier
from sdjax.probe.sweep import Split
from sdjax.training.process import StopSignal

FAST = ("--epochs", 2, "--batch-size", 16, "--max-bytes", 16, "--learning-rate", 0.01)


def arguments(run, out, *more, texts=None, label="label"):
    texts = texts or run.texts
    files = [x for split, path in texts.items() for x in (f"--{split}", path)]
    return ("finetune", run.workdir, *files, "--label-key", label, "--out", out) + more


@pytest.fixture(scope="module")
def relabelled(tiny_run, tmp_path_factory):
    """The labelled texts with three classes and with two labels at once."""
    folder, paths = tmp_path_factory.mktemp("relabelled"), {}
    for split, path in tiny_run.texts.items():
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        for i, row in enumerate(rows):
            row |= {"three": i % 3, "long": i % 2, "odd": int(i % 5 == 0)}
        paths[split] = folder / path.name
        with open(paths[split], "w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    return paths


def test_the_result_is_a_checkpoint_and_a_classifier_of_it(tiny_run, command, tmp_path):
    out = tmp_path / "tuned"
    done = command.sdjax(*arguments(tiny_run, out, *FAST))
    assert done.status == 0, done.err
    for word in ("head alone", "epoch 1", "epoch 2", "majority class", "Matthews"):
        assert word in done.out
    classifier = Classifier.load(out / "classifier")
    loaded = load_model(out)
    assert classifier.metadata["checkpoint"] == str(loaded.path)
    before = load_model(tiny_run.workdir)
    assert loaded.meta.normalisation == before.meta.normalisation
    # What test is said to be is what the saved parts say.
    with open(tiny_run.texts["test"], newline="") as file:
        rows = list(csv.DictReader(file))
    featurizer = TextFeaturizer.from_pretrained(out)
    classifier.check_source(featurizer.metadata(), out)
    features = featurizer.transform([row["sentence"] for row in rows])
    right = classifier.predict(features) == [int(row["label"]) for row in rows]
    assert classifier.metadata["figures"]["test"]["accuracy"] == np.mean(right)
    scored = command.sdjax("classify", out / "classifier", "Good.", "--explain")
    assert scored.status == 0, scored.err
    assert_refused(command.sdjax(*arguments(tiny_run, out, *FAST)), "--out", "already")


@pytest.mark.parametrize(
    ("label", "task", "columns"),
    [("three", "multiclass", 3), ("long,odd", "multilabel", 2)],
)
def test_several_classes_and_several_labels(
    tiny_run, relabelled, command, tmp_path, label, task, columns
):
    given = arguments(tiny_run, tmp_path / "out", *FAST, texts=relabelled, label=label)
    done = command.sdjax(*given)
    assert done.status == 0, done.err
    classifier = Classifier.load(tmp_path / "out" / "classifier")
    assert classifier.task == task and len(classifier.coef) == columns
    assert classifier.link == ("softmax" if task == "multiclass" else "sigmoid")
    for name in classifier.classes:
        assert f"\n{name} " in done.out


def test_stopped_it_leaves_the_best_so_far(tiny_run, command, tmp_path, monkeypatch):
    class Stops(StopSignal):
        """Ctrl-C while the first update runs."""

        requested = 2

    monkeypatch.setattr("sdjax.training.process.StopSignal", Stops)
    done = command.sdjax(*arguments(tiny_run, tmp_path / "out", *FAST))
    assert done.status == 130 and "epoch 0, the best on valid" in done.out
    (checkpoint,) = checkpoint_steps(tmp_path / "out")
    assert checkpoint.name == "0"
    scored = command.sdjax("classify", tmp_path / "out" / "classifier", "Good.")
    assert scored.status == 0, scored.err


def test_what_cannot_be_trained_with_is_refused(tiny_run, command, tmp_path):
    def refused(*more, **options):
        given = arguments(tiny_run, tmp_path / "out", *more, **options)
        return command.sdjax(*given)

    assert_refused(refused("--epochs", 0), "--epochs", "'0'")
    assert_refused(refused("--max-bytes", 1), "--max-bytes", "'1'")
    assert_refused(refused("--learning-rate", "nan"), "--learning-rate", "'nan'")
    assert_refused(refused(label="nothing"), "'nothing'", "columns that exist")
    one_class = tmp_path / "one.csv"
    one_class.write_text("sentence,label\n" + "good,1\n" * 5)
    texts = tiny_run.texts | {"train": one_class}
    assert_refused(refused(texts=texts), "train", "every label is 1")
    bad = tmp_path / "bad.jsonl"
    rows = [{"sentence": "x", "label": 1}, {"sentence": None, "label": 0}]
    bad.write_text("".join(json.dumps(row) + "\n" for row in rows * 5))
    assert_refused(refused(texts=tiny_run.texts | {"valid": bad}), "50.0%", f"{bad}:2")
    assert not (tmp_path / "out").exists()


def test_thresholds_are_those_of_best_accuracy_nearest_to_one_half():
    # Scores 0, 1, 2, 3: only a cut between 1 and 2 is right everywhere.
    features = np.array([[0.0], [1.0], [2.0], [3.0]])
    positions = np.array([0, 0, 1, 1])
    plain = Classifier(
        "binary", ("no", "yes"), np.ones((1, 1)), np.zeros(1), np.array([0.5])
    )
    chosen = head.with_thresholds(plain, Split(features, positions, positions[:, None]))
    assert chosen.predict(features).tolist() == positions.tolist()
    shifted = features - 1.5  # now one half is right, and stays
    split = Split(shifted, positions, positions[:, None])
    assert head.with_thresholds(plain, split).thresholds == [0.5]
    tied = np.zeros((4, 1))
    split = Split(tied, positions, positions[:, None])
    assert head.with_thresholds(plain, split).thresholds == [0.5]


@pytest.mark.parametrize("link", ["sigmoid", "softmax"])
def test_the_first_head_is_the_one_that_valid_finds_likeliest(link):
    random = np.random.default_rng(0)
    features = random.normal(size=(80, 5)).astype(np.float32)
    classes = features[:, :3].argmax(axis=1)
    one_hot = np.eye(3, dtype=np.int64)[classes]
    first = head.first_head(
        features[:60], one_hot[:60], features[60:], one_hot[60:], link
    )
    scores = features @ first["coef"].T + first["intercept"]
    assert first["coef"].shape == (3, 5)
    assert np.mean(np.argmax(scores, axis=1) == classes) > 0.85
