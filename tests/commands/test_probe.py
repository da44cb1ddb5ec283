"""`sdjax probe` end to end, and one-line errors for bad input."""

import json
import shutil

import numpy as np
import pytest
from fixtures_run import assert_refused

from sdjax.data import corpus
from sdjax.features import file as feature_file
from sdjax.features.file import FeatureSet
from sdjax.model.classifier import Classifier
from sdjax.report import write as write_module
from sdjax.training.metrics import read_metrics


def raise_no_space(*args, **kwargs):
    raise OSError(28, "No space left on device")


@pytest.fixture
def below_a_file(tmp_path):
    """Return a path that nobody can create, not even root."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "folder"


def planted(count: int, metadata: dict, seed: int) -> FeatureSet:
    """Make noise with a unit 2 that follows the label with a negative sign."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    features = random.normal(0, 0.1, (count, 4)).astype(np.float32)
    features[:, 2] -= 2 * labels - 1
    texts = [f"text {i}" for i in range(count)]
    return FeatureSet(
        features, labels.astype(np.float32), np.arange(count), texts, metadata
    )


@pytest.fixture
def splits(tmp_path):
    """Write features files whose checkpoint no longer exists."""
    metadata = {"checkpoint": str(tmp_path / "gone" / "checkpoints" / "4"), "step": 4}
    paths = {}
    for seed, name in enumerate(corpus.SPLITS):
        paths[name] = tmp_path / f"{name}.npz"
        feature_file.save(paths[name], planted(40, metadata, seed))
    return paths


def probe(command, paths, out, *options):
    arguments = [x for name, path in paths.items() for x in (f"--{name}", path)]
    arguments += ["--out", out, "--workers", 1, "--draws", 2]
    return command.sdjax("probe", *arguments, *options)


def change(path, **changes) -> None:
    made = feature_file.load(path)
    fields = {k: getattr(made, k) for k in made.__dataclass_fields__}
    feature_file.save(path, FeatureSet(**(fields | changes)))


def test_probe_end_to_end(command, tiny_run, tmp_path):
    done = probe(command, tiny_run.features, tmp_path / "report")
    assert done.status == 0, done.err
    data = json.loads((tmp_path / "report" / "report.json").read_text())
    assert f"top unit: {data['probe']['top_unit']['index']}, sign" in done.out
    assert f"report: {tmp_path}/report/report.html\n" in done.out
    steps = sorted(int(p.name) for p in (tiny_run.workdir / "checkpoints").iterdir())
    assert [point["step"] for point in data["probe_points"]] == steps
    of_best = {p["step"]: p["test_accuracy"] for p in data["probe_points"]}
    best = data["sources"]["test"]["step"]
    assert of_best[best] == data["probe"]["scores"]["test"]["accuracy"]
    assert data["absent"] == {}
    log = read_metrics(tiny_run.workdir / "metrics.jsonl")
    (measured,) = (r["valid_bpc"] for r in log if r["step"] == best)
    assert data["bits_per_character"] == measured
    assert len(data["figures"]) == 6
    words = data["bag_of_words"]["scores"]["test"]["accuracy"]
    assert f"bag of words (test): {words:.1%}\n" in done.out
    curves = data["data_efficiency"]["curves"]
    assert set(curves) == {"all units", "top unit", "bag of words"}
    assert [point["texts"] for point in curves["all units"]] == [10, 30, 60]
    classifier = Classifier.load(tmp_path / "report" / "classifier")
    test = feature_file.load(tiny_run.features["test"])
    right = classifier.predict(test.features) == test.labels
    assert right.mean() == data["probe"]["scores"]["test"]["accuracy"]
    checkpoint = classifier.metadata["checkpoint"]
    assert checkpoint == str(tiny_run.workdir / "checkpoints" / str(best))


def test_probe_without_the_checkpoint_says_what_is_missing(command, splits, tmp_path):
    done = probe(command, splits, tmp_path / "report")
    assert done.status == 0, done.err
    assert "top unit: 2, sign -, alone (test): 100.0%" in done.out
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("no checkpoint in gone/checkpoints/4") == 4


def test_probe_skips_optional_parts_on_request(command, splits, tmp_path):
    options = ["--no-bag-of-words", "--draws", 0]
    done = probe(command, splits, tmp_path / "report", *options)
    assert done.status == 0 and "bag of words" not in done.out
    data = json.loads((tmp_path / "report" / "report.json").read_text())
    assert data["bag_of_words"] is None and data["data_efficiency"] is None
    assert data["absent"]["bag_of_words"] == "not requested"
    assert "data_efficiency" not in data["figures"]


def test_probe_of_one_checkpoint_does_not_featurize_again(
    command, tiny_run, tmp_path, monkeypatch
):
    from sdjax.features.featurizer import TextFeaturizer

    def refuse(*arguments):
        raise AssertionError("texts were read again")

    monkeypatch.setattr(TextFeaturizer, "transform", refuse)
    options = ["--one-checkpoint", "--draws", 0, "--no-bag-of-words"]
    done = probe(command, tiny_run.features, tmp_path / "report", *options)
    assert done.status == 0, done.err
    data = json.loads((tmp_path / "report" / "report.json").read_text())
    assert data["probe_points"] == []
    assert "--one-checkpoint" in data["absent"]["probe_points"]
    assert data["bits_per_character"] is not None


def test_probe_of_features_without_texts(command, splits, tmp_path):
    change(splits["test"], texts=[""] * 40)
    assert probe(command, splits, tmp_path / "report").status == 0
    data = json.loads((tmp_path / "report" / "report.json").read_text())
    assert data["absent"]["bag_of_words"] == "the features files have no texts"
    assert set(data["data_efficiency"]["curves"]) == {"all units", "top unit"}


@pytest.mark.parametrize("multilabel", [False, True])
def test_probe_of_several_classes(command, splits, tmp_path, multilabel):
    for path in splits.values():
        made = feature_file.load(path)
        labels = np.arange(40) % 3
        made.features[:, :3] += 2 * np.eye(3)[labels]
        if multilabel:
            labels = np.stack([labels == 1, labels != 0], axis=1)
        change(path, features=made.features, labels=np.float32(labels))
    done = probe(command, splits, tmp_path / "report")
    assert done.status == 0, done.err
    assert "macro F1" in done.out and "Matthews" in done.out
    classifier = Classifier.load(tmp_path / "report" / "classifier")
    assert classifier.task == ("multilabel" if multilabel else "multiclass")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Class by class" in page


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--draws", -1], ["--draws", "-1", "from 0"]),
        (["--workers", 0], ["--workers 0", "one per core"]),
    ],
)
def test_probe_bad_options(command, splits, tmp_path, options, words):
    assert_refused(probe(command, splits, tmp_path / "report", *options), *words)


def test_probe_bad_labels(command, splits, tmp_path):
    labels = feature_file.load(splits["train"]).labels
    half = np.where(np.arange(40) < 3, np.nan, labels)
    for changed, words in (
        (None, ["no labels", "--label-key"]),
        (half, ["no label in row 0", "3 of 40"]),
        (2 * labels, ["labels must be 0, 1", "there are 2"]),
        (0 * labels, ["0 texts are labelled 'positive'", "at least 1"]),
    ):
        change(splits["valid"], labels=changed)
        refused = probe(command, splits, tmp_path / "report")
        assert_refused(refused, "valid", *words)
        assert not (tmp_path / "report" / "report.json").exists()


def test_probe_bad_files(command, splits, tmp_path):
    out = tmp_path / "report"
    change(splits["test"], metadata={"checkpoint": str(out.parent / "b" / "4")})
    assert_refused(probe(command, splits, out), "test", "b/4", "one checkpoint")
    data = splits["valid"].read_bytes()
    splits["valid"].write_bytes(data[: len(data) // 2])
    assert_refused(probe(command, splits, out), "valid.npz", "cut short")
    splits["train"].unlink()
    assert_refused(probe(command, splits, out), "train.npz", "featurize.py")


def test_probe_where_nothing_can_be_written(
    command, splits, below_a_file, tmp_path, monkeypatch
):
    refused = probe(command, splits, below_a_file)
    assert_refused(refused, str(below_a_file), "another path", status=1)
    assert_refused(probe(command, splits, tmp_path / "file"), "is a file")
    out = tmp_path / "report"
    monkeypatch.setattr(write_module, "_draw", raise_no_space)
    refused = probe(command, splits, out)
    assert_refused(refused, f"{out}: No space", "free some space", status=1)
    assert not list(out.iterdir())


def test_probe_with_a_damaged_checkpoint(command, tiny_run, tmp_path):
    """The unit is still found, because that needs only the features."""
    step = shutil.copytree(
        tiny_run.workdir / "checkpoints" / "4", tmp_path / "run" / "checkpoints" / "4"
    )
    (step / "meta" / "metadata").write_text("{")
    paths = {}
    for seed, name in enumerate(corpus.SPLITS):
        paths[name] = tmp_path / f"{name}.npz"
        metadata = {"checkpoint": str(step), "step": 4}
        feature_file.save(paths[name], planted(40, metadata, seed))
    done = probe(command, paths, tmp_path / "report")
    assert done.status == 0, done.err
    assert "is not JSON" in (tmp_path / "report" / "report.html").read_text()
