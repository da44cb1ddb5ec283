"""One name for the top unit, and every pooling that has a value at one byte."""

import dataclasses
import json

import numpy as np
import pytest
import tiny
from fixtures_run import assert_refused

from sdjax.errors import InputError
from sdjax.features.columns import top_unit_name
from sdjax.features.featurizer import TextFeaturizer
from sdjax.inference import scoring, steering
from sdjax.integrity import sealed
from sdjax.model.classifier import DATA, Classifier

QUANTILES = {
    name: {"0.05": low, "0.50": low + 1, "0.95": low + 2}
    for name, low in (("negative", -2.0), ("positive", 0.0))
}


def classifier(width: int, index: int, **metadata) -> Classifier:
    top = {"index": index, "sign": 1, "threshold": 0.0, "quantiles": QUANTILES}
    return Classifier(
        "binary",
        ("negative", "positive"),
        np.ones((1, width)),
        np.zeros(1),
        np.array([0.5]),
        metadata={"top_unit": top, **metadata},
    )


STACK = {"num_layers": 2, "layers": "all", "units": 16}


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (classifier(8, 3), "3"),
        (classifier(16, 11, **STACK), "1:3"),
        (classifier(16, 3, **STACK), "0:3"),
        (classifier(16, 11, pooling=["last", "max"], units=8), "3 (max)"),
    ],
)
def test_the_unit_has_the_name_that_the_report_gives_it(made, name):
    assert top_unit_name(made) == name
    score = scoring.Score("a", {"positive": 0.5}, ("positive",), 1.0)
    assert f"unit {name}  text" in scoring.table(made, [score])
    assert f", unit {name} at +1.00" in scoring.verdict(top_unit_name(made), score)


def test_a_page_names_it_too():
    from sdjax.report import coloured_text

    page = coloured_text.page(classifier(16, 11, **STACK), [])
    assert "Unit 1:3, character by character" in page


def test_what_is_held_is_called_the_same():
    made = classifier(16, 11, **STACK)
    assert steering.held_unit(made) == (1, 3)
    held = steering.conditions([], made, contrast=True)
    assert steering.headings(made, held)[0].startswith("unit 1:3 held at")


@pytest.mark.parametrize(
    ("pooling", "state", "index", "wanted"),
    [
        ("last", "cell", 3, (3, "cell")),
        ("cell:last", "cell", 3, (3, "cell")),
        ("cell:last", "hidden", 3, (3, "cell")),
        ("hidden:last", "cell", 3, (3, "hidden")),
        (["max", "hidden:last"], "cell", 11, (3, "hidden")),
    ],
)
def test_last_by_its_full_name_is_last(pooling, state, index, wanted):
    width = 8 * (1 if isinstance(pooling, str) else len(pooling))
    made = classifier(width, index, pooling=pooling, state=state)
    assert scoring.unit_and_state(made) == wanted


@pytest.mark.parametrize("pooling", ["mean", "cell:max", ["last", "min"]])
def test_a_unit_that_is_pooled_has_no_value_at_a_byte(pooling):
    width = 8 * (1 if isinstance(pooling, str) else len(pooling))
    made = classifier(width, width - 1, pooling=pooling)
    with pytest.raises(InputError, match="over each text"):
        scoring.top_unit(made)


def test_a_trace_ends_at_the_feature(tiny_run):
    options = {"state": "cell", "pooling": ["max", "hidden:last"]}
    featurizer = TextFeaturizer.from_pretrained(tiny_run.workdir, **options)
    made = classifier(2 * tiny.HIDDEN, tiny.HIDDEN + 3, **featurizer.metadata())
    from sdjax.checkpoints.load import load_model

    scorer = scoring.Scorer(made, load_model(tiny_run.workdir))
    (score,) = scorer.score(["I love this phone."])
    traced = scorer.trace("I love this phone.")
    assert traced.values[-1] == pytest.approx(score.unit, rel=1e-5)


WRONG = [
    ({"index": 99}, "top_unit.index is 99, but it reads 8"),
    ({"index": "3"}, "top_unit.index is '3'"),
    ({"index": -1}, "top_unit.index is -1"),
    ({"sign": 0}, "top_unit.sign is 0"),
    ({"threshold": "low"}, "top_unit.threshold is 'low'"),
    ({"quantiles": {"a": {}, "b": {}}}, "top_unit.quantiles is"),
    ({"classes": ["one"]}, "top_unit.classes is"),
]


@pytest.mark.parametrize(("change", "words"), WRONG, ids=str)
def test_a_folder_from_anybody_is_checked(command, tmp_path, change, words):
    made = classifier(8, 3)
    made.save(tmp_path / "made")
    path = tmp_path / "made" / DATA
    data = json.loads(path.read_text())
    data["metadata"]["top_unit"] |= change
    data.pop("xxh3_128")
    path.write_text(json.dumps(sealed(data)))
    done = command.sdjax("classify", tmp_path / "made", "Good.")
    assert_refused(done, words, str(tmp_path / "made"))


@pytest.mark.parametrize(
    "metadata", [{"units": 0}, {"pooling": 3}, {"normalisation": []}, {"checkpoint": 1}]
)
def test_metadata_of_another_kind_is_refused(metadata):
    (key,) = metadata
    with pytest.raises(InputError, match=f"classifier: {key} is"):
        dataclasses.replace(classifier(8, 3), metadata=metadata)
