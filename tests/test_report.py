"""The report says what the probe found, embeds its figures and is replaced whole."""

import json
import re

import numpy as np
import pytest
from matplotlib.image import imread

from sdjax import figures, page, probe, report
from sdjax.coloured_text import TracedText
from sdjax.errors import InputError
from sdjax.featurefile import FeatureSet

UNIT = 5
RECORDS = [
    {"step": i, "chars": 100 * i, "train_bpc": 2 + 1 / i, "valid_bpc": None}
    for i in range(1, 9)
]
TEXT = "\n Good. "
TRACED = (
    [TracedText(TEXT, np.linspace(0, -2, len(TEXT)), 1.0)],
    [TracedText(TEXT, np.linspace(0, 3, len(TEXT)), 0.0)],
)


def planted(count: int, seed: int) -> FeatureSet:
    """One unit that follows the label with a negative sign, and noise."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    features = random.normal(0, 0.5, (count, 12))
    features[:, UNIT] = 1 - 2 * labels + random.normal(0, 0.5, count)
    return FeatureSet(
        features=features.astype(np.float32),
        labels=labels.astype(np.float32),
        ids=np.arange(count),
        texts=["text"] * count,
        metadata={"checkpoint": "runs/a|b", "normalisation": {"strip_tags": False}},
    )


@pytest.fixture(scope="module")
def splits():
    counts = {"train": 200, "valid": 80, "test": 100}
    return {name: planted(n, seed) for seed, (name, n) in enumerate(counts.items())}


@pytest.fixture(scope="module")
def result(splits):
    return probe.run_probe(*splits.values(), strengths=[0.01, 0.1], n_jobs=1)


def whole(folder, result, splits):
    return report.write_report(
        folder,
        result,
        splits,
        bits_per_character=2.345,
        records=RECORDS,
        probe_points=[(2, 0.6), (8, 0.9)],
        traced=TRACED,
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory, result, splits):
    return whole(tmp_path_factory.mktemp("new") / "report", result, splits)


def test_whole_report(written, result):
    path, page = written, written.read_text()
    embedded = re.findall(r"!\[.*?\]\((.*?)\)\n\nHow to read it", page)
    assert len(embedded) == 5
    for name in embedded:
        image = imread(path.parent / name)
        assert image.shape[1] == figures.WIDTH * figures.DPI and image.std() > 0.02
    assert "bits per character (valid): 2.345" in page
    assert f"top unit: {UNIT}, sign -," in page
    assert f"Larger values of unit {UNIT} mean negative" in page
    assert f"{result.top_unit.threshold:.4g}" in page
    assert "runs/a\\|b" in page
    assert "Not in this report" not in page and "nan" not in page
    entries = sorted(entry.name for entry in path.parent.iterdir())
    assert entries == sorted([*embedded, "report.json", "report.md"])


def test_every_accuracy_is_in_the_table(written, result):
    page = written.read_text()
    for values in (
        result.accuracy,
        result.majority,
        *(p.accuracy for p in result.top_k),
    ):
        row = " | ".join(f"{values[split]:.1%}" for split in probe.SPLITS)
        assert f"| {row} |" in page


def test_json(written, result, splits):
    folder = written.parent
    data = json.loads((folder / "report.json").read_text())
    assert data["probe"] == json.loads(json.dumps(result.as_json()))
    assert data["bits_per_character"] == 2.345
    assert data["probe_points"][1] == {"step": 8, "test_accuracy": 0.9}
    assert data["sources"]["test"] == splits["test"].metadata
    assert all((folder / name).is_file() for name in data["figures"].values())
    assert data["absent"] == {}


def test_an_older_report_is_replaced_and_other_files_stay(tmp_path, result, splits):
    whole(tmp_path, result, splits)
    (tmp_path / "notes.txt").write_text("mine")
    reasons = {"training_curve": "runs/x has no metrics.jsonl"}
    page = report.write_report(tmp_path, result, splits, absent=reasons).read_text()
    assert not (tmp_path / "training_curve.png").exists()
    assert not (tmp_path / "coloured_texts.png").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert "- training curve: runs/x has no metrics.jsonl" in page
    assert "- coloured texts: no text was traced" in page
    assert "- bits per character:" in page
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["absent"]["training_curve"] == "runs/x has no metrics.jsonl"
    assert set(data["figures"]) == {"unit_weights", "unit_histogram", "topk_accuracy"}


def test_a_report_that_fails_leaves_the_older_one(
    tmp_path, result, splits, monkeypatch
):
    whole(tmp_path, result, splits)
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}

    def full_disk(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures, "topk_accuracy", full_disk)
    with pytest.raises(OSError, match="No space left"):
        whole(tmp_path, result, splits)
    assert before == {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}


def test_folder_that_is_a_file(tmp_path, result, splits):
    (tmp_path / "report").write_text("")
    with pytest.raises(InputError, match="report: is a file; give a folder"):
        whole(tmp_path / "report", result, splits)


def test_cautions(tmp_path, splits):
    zero = probe.run_probe(*splits.values(), strengths=[1e-6], n_jobs=1)
    page = report.write_report(tmp_path, zero, splits).read_text()
    assert "Every L1 weight is zero" in page
    assert zero.top_unit.index == UNIT


def test_headline_is_short(result):
    lines = page.headline(result)
    assert len(lines) == 3 and all(len(line) <= 88 for line in lines)
    assert not any("bits" in line for line in lines)
