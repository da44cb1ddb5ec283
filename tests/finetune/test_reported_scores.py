"""What fine-tuning and the probe report on valid is what the saved classifier gives."""

import csv

import pytest

from sdjax.model.classifier import Classifier
from sdjax.probe import l1_probe, sweep
from sdjax.probe.targets import read_targets

FAST = ("--epochs", 1, "--batch-size", 16, "--max-bytes", 16)


@pytest.mark.parametrize("label", ["odd", "label,odd", "three"])
def test_the_valid_score_of_fine_tuning_is_that_of_the_folder(
    tiny_run, command, tmp_path, label
):
    paths = {}
    for split, path in tiny_run.texts.items():
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        for i, row in enumerate(rows):
            row |= {"odd": int(i % 4 == 0), "three": i % 3}
        paths[split] = tmp_path / path.name
        with open(paths[split], "w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    files = [x for split, path in paths.items() for x in (f"--{split}", path)]
    out = tmp_path / "out"
    done = command.sdjax(
        *("finetune", tiny_run.workdir, *files, "--label-key", label),
        *("--out", out, *FAST),
    )
    assert done.status == 0, done.err
    classifier = Classifier.load(out / "classifier")
    if label == "odd":  # else 0.5 would be right, and nothing be tested
        assert classifier.thresholds[0] != 0.5
    scored = featurized(out, paths["valid"], label, command, tmp_path)
    targets = read_targets({"train": scored, "valid": scored})
    split = l1_probe._split(targets, scored)
    ((criterion, value),) = (
        (key, value)
        for key, value in classifier.metadata["figures"]["valid"].items()
        if key != "loss"
    )
    assert sweep.scores_of(targets, classifier, split)[criterion] == value


def featurized(run, path, label, command, tmp_path):
    from sdjax.features import file as feature_file

    output = tmp_path / "valid.npz"
    done = command.sdjax(
        *("featurize", "--checkpoint", run, "--input", path, "--output", output),
        *("--text-key", "sentence", "--label-key", label),
    )
    assert done.status == 0, done.err
    return feature_file.load(output)
