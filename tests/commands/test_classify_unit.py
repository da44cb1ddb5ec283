"""`sdjax classify CHECKPOINT --unit U`: a unit's value, its side, its colours."""

import csv
import json

import numpy as np
import pytest
import tiny
from fixtures_run import assert_refused
from foreign import random_params

from sdjax.checkpoints import published
from sdjax.data.text import Normalisation
from sdjax.features.featurizer import TextFeaturizer
from sdjax.inference import unit_scoring

TEXTS = ["I love it", "The price was awful.", "a text that is longer than the others"]


def rows_of(out: str) -> list[tuple[float, str, str]]:
    lines = [line.split(maxsplit=2) for line in out.splitlines()[1:]]
    return [(float(value), side, text) for value, side, text in lines]


@pytest.mark.parametrize("threshold", [None, 0.2])
def test_the_value_after_the_last_byte_and_its_side(tiny_run, command, threshold):
    options = [] if threshold is None else ["--threshold", threshold]
    # In the order of the README: the unit before the text.
    done = command.sdjax("classify", tiny_run.workdir, "--unit", 3, *options, *TEXTS)
    assert done.status == 0, done.err
    assert done.out.split()[:5] == ["unit", "3", "of", f"{threshold or 0:g}", "text"]
    values = TextFeaturizer(tiny_run.workdir).transform(TEXTS)[:, 3]
    for (value, side, text), wanted, given in zip(
        rows_of(done.out), values, TEXTS, strict=True
    ):
        assert value == pytest.approx(wanted, abs=1e-4) and text == given
        assert side == ("above" if wanted > (threshold or 0) else "below")


def test_texts_may_stand_anywhere_among_the_options(tiny_run, command):
    orders = (
        [tiny_run.workdir, *TEXTS, "--unit", 3],
        [tiny_run.workdir, TEXTS[0], "--unit", 3, *TEXTS[1:]],
        ["--unit", 3, tiny_run.workdir, *TEXTS],
    )
    printed = {command.sdjax("classify", *order).out for order in orders}
    assert len(printed) == 1 and len(rows_of(*printed)) == 3
    refused = command.sdjax("classify", tiny_run.workdir, "--unti", 3, *TEXTS)
    assert_refused(refused, "--unti")


def test_the_sides_of_a_threshold_that_is_a_value_itself(tiny_run, command):
    value = float(TextFeaturizer(tiny_run.workdir).transform(TEXTS[:1])[0, 3])
    for off, side in ((-1e-6, "above"), (1e-6, "below")):
        options = "--unit", 3, f"--threshold={value + off!r}"
        done = command.sdjax("classify", tiny_run.workdir, *options, TEXTS[0])
        assert rows_of(done.out)[0][1] == side


def test_explain_prints_the_coloured_text(tiny_run, command):
    options = "--unit", 3, "--explain"
    plain = command.sdjax("classify", tiny_run.workdir, *options, TEXTS[0])
    value = TextFeaturizer(tiny_run.workdir).transform(TEXTS[:1])[0, 3]
    side = "above" if value > 0 else "below"
    assert plain.out == f"\nunit 3 at {value:+.4f}, {side} 0\n{TEXTS[0]}\n"
    coloured = {
        reach: command.sdjax(
            *("classify", tiny_run.workdir, *options, TEXTS[0]),
            *("--color", "always", "--reach", reach),
        ).out
        for reach in (1, 100)
    }
    assert "\x1b[48;2;" in coloured[1] and coloured[1] != coloured[100]


def test_the_page_and_a_file_of_scores(tiny_run, command, tmp_path):
    page, output, source = (tmp_path / n for n in ("p.html", "out.csv", "in.jsonl"))
    lines = [{"text": text, "label": n % 2} for n, text in enumerate(TEXTS)]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = command.sdjax(
        *("classify", tiny_run.workdir, "--unit", 3, "--input", source),
        *("--label-key", "label", "--output", output, "--html", page),
    )
    assert done.status == 0, done.err
    html = page.read_text()
    assert "Unit 3, character by character" in html
    assert "above" in html and "below" in html and "run/checkpoints/" in html
    assert str(tiny_run.workdir) not in html
    with open(output, newline="") as file:
        found = list(csv.DictReader(file))
    values = TextFeaturizer(tiny_run.workdir).transform(TEXTS)[:, 3]
    assert [float(row["cell_last_3"]) for row in found] == pytest.approx(values)
    called = np.array([row["called"] for row in found])
    np.testing.assert_array_equal(called, np.where(values > 0, "above", "below"))
    assert [row["label"] for row in found] == ["0", "1", "0"]
    right = np.mean((values > 0) == [False, True, False])
    assert f"accuracy {right:.2%} of 3 labelled texts" in done.out


def test_a_unit_of_a_layer_of_a_stack(command, tmp_path):
    model = tiny.model(num_layers=2)
    params, folder = random_params(model), tmp_path / "stack"
    published.write(model, params, Normalisation(), folder)
    both = TextFeaturizer(folder, layers="all").transform(TEXTS)
    for unit, column in (("0:3", 3), ("1:3", 11), ("3", 11)):
        done = command.sdjax("classify", folder, "--unit", unit, *TEXTS)
        found = [value for value, *_ in rows_of(done.out)]
        np.testing.assert_allclose(found, both[:, column], atol=1e-4)
    for unit in ("2:0", "0:8", "8", "-1", "x", "1:", "0:1:2"):
        refused = command.sdjax("classify", folder, f"--unit={unit}", *TEXTS)
        assert_refused(refused, f"--unit {unit}")


def test_a_classifier_is_told_by_its_json(tiny_run, command, tmp_path):
    assert not unit_scoring.is_classifier(tiny_run.workdir)
    without = command.sdjax("classify", tiny_run.workdir, *TEXTS)
    assert_refused(without, "no classifier there", "give --unit")
    (tmp_path / "classifier.json").write_text("{}")
    assert unit_scoring.is_classifier(tmp_path)
    refused = command.sdjax("classify", tmp_path, "--unit", 3, *TEXTS)
    assert_refused(refused, "is a classifier", "--unit goes with a checkpoint")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--threshold", 1], "--threshold goes with a checkpoint and its --unit"),
        (["--unit", 8], "--unit 8"),
        (["--unit", 3, "--reach", 0], "argument --reach: '0': give a number, above 0"),
        (["--unit", 3, "--threshold", "nan"], "argument --threshold: 'nan'"),
        (["--unit", 3, "--checkpoint", "x"], "the first argument is the checkpoint"),
    ],
)
def test_what_is_refused(tiny_run, command, options, words):
    assert_refused(command.sdjax("classify", tiny_run.workdir, *TEXTS, *options), words)
