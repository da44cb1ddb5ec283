"""Parts of the report that need the model agree with featurizing by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sdjax.features import file as feature_file
from sdjax.features.featurizer import TextFeaturizer
from sdjax.probe import l1_probe
from sdjax.probe.targets import read_targets
from sdjax.report import from_model


@pytest.fixture(scope="module")
def splits(tiny_run):
    return {s: feature_file.load(path) for s, path in tiny_run.features.items()}


def test_the_run_of_a_checkpoint(tiny_run, splits):
    checkpoint = Path(splits["test"].metadata["checkpoint"])
    assert from_model.run_of(checkpoint) == tiny_run.workdir


def test_every_checkpoint_is_probed_oldest_first(tiny_run, splits):
    train, test = splits["train"], splits["test"]
    points = from_model.probe_over_training(tiny_run.workdir, train, test, 1.0)
    assert [step for step, _ in points] == [4, 8, 12]
    step, accuracy = points[0]
    featurizer = TextFeaturizer.from_pretrained(
        tiny_run.workdir / "checkpoints" / str(step)
    )
    at_step = [
        replace(s, features=featurizer.transform(s.texts)) for s in (train, test)
    ]
    assert accuracy == l1_probe.accuracy_at(*at_step, 1.0)
    assert dict(points)[train.metadata["step"]] == l1_probe.accuracy_at(
        train, test, 1.0
    )


def test_a_run_without_checkpoints_has_no_points(tmp_path, splits):
    points = from_model.probe_over_training(
        tmp_path, splits["train"], splits["test"], 1.0
    )
    assert points == []


def test_traced_examples_have_one_value_per_byte(tiny_run, splits):
    test, unit = splits["test"], 5
    featurizer = TextFeaturizer.from_pretrained(tiny_run.workdir)
    targets = read_targets({"test": test})
    traced = from_model.trace_examples(featurizer, test, [7, 2], unit, targets)
    for example, row in zip(traced, [7, 2], strict=True):
        framed = featurizer.normalisation.encode(test.texts[row])
        assert example.text.encode() == framed
        assert len(example.values) == len(framed)
        assert example.label == ("negative", "positive")[int(test.labels[row])]
        np.testing.assert_allclose(
            example.values[-1], test.features[row, unit], rtol=1e-5, atol=1e-6
        )


def test_texts_without_labels_are_traced_too(tiny_run, splits):
    featurizer = TextFeaturizer.from_pretrained(tiny_run.workdir)
    unlabelled = replace(splits["test"], labels=None)
    (example,) = from_model.trace_examples(featurizer, unlabelled, [0], 0)
    assert example.label is None
