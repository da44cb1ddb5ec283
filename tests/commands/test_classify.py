"""`sdjax classify` and `sdjax generate` with a classifier, on a tiny run."""

import csv
import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from fixtures_run import assert_refused

from sdjax.features.featurizer import TextFeaturizer
from sdjax.model.classifier import Classifier

GOOD, BAD = "I love this phone. It is great.", "The price was awful."
QUANTILES = ("0.05", "0.25", "0.50", "0.75", "0.95")


@pytest.fixture(scope="module")
def made(tiny_run, tmp_path_factory):
    """Save a classifier on the features of the tiny run."""
    featurizer = TextFeaturizer.from_pretrained(tiny_run.workdir)
    coef = np.random.default_rng(0).normal(size=(1, tiny.HIDDEN))
    quantiles = {
        name: dict(
            zip(QUANTILES, (np.linspace(-2, 2, 5) + shift).tolist(), strict=True)
        )
        for name, shift in (("negative", 1.0), ("positive", -1.0))
    }
    top = {"index": 3, "sign": -1, "threshold": 0.1, "quantiles": quantiles}
    metadata = featurizer.metadata() | {"top_unit": top}
    classifier = Classifier(
        "binary",
        ("negative", "positive"),
        coef,
        np.zeros(1),
        np.array([0.5]),
        metadata=metadata,
    )
    folder = tmp_path_factory.mktemp("made") / "classifier"
    classifier.save(folder)
    return SimpleNamespace(folder=folder, classifier=classifier, featurizer=featurizer)


def piped(monkeypatch, data: bytes) -> None:
    stream = io.TextIOWrapper(io.BytesIO(data))
    monkeypatch.setattr(sys, "stdin", stream)


def test_scores_agree_with_the_classifier_on_the_features(made, command):
    done = command.sdjax("classify", made.folder, GOOD, BAD)
    assert done.status == 0, done.err
    features = made.featurizer.transform([GOOD, BAD])
    probabilities = made.classifier.predict_proba(features)[:, 0]
    heading, *lines = done.out.splitlines()
    assert heading.split() == ["p(positive)", "called", "unit", "3", "text"]
    for line, text, p, cell in zip(
        lines, (GOOD, BAD), probabilities, features[:, 3], strict=True
    ):
        words = line.split()
        assert float(words[0]) == pytest.approx(p, abs=1e-4)
        assert words[1] == ("positive" if p > 0.5 else "negative")
        assert float(words[2]) == pytest.approx(cell, abs=0.01)
        assert line.endswith(text)


def test_bad_lines_of_standard_input_are_counted_and_the_others_scored(
    made, command, monkeypatch
):
    piped(monkeypatch, f"{GOOD}\n\n\xff".encode("latin-1") + f"\n{BAD}".encode())
    done = command.sdjax("classify", made.folder)
    assert done.status == 0
    first, second = done.out.splitlines()[1:]
    assert first.endswith(GOOD) and second.endswith(BAD)
    assert "skipped 2" in done.err
    assert "empty text (first: standard input:2)" in done.err
    assert "non-UTF-8 bytes (first: standard input:3)" in done.err


def test_a_file_with_bad_rows_keeps_them_without_scores(made, command, tmp_path):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.csv"
    rows = [GOOD, None, "", 7, BAD, "a \ud800 b", "x"]
    source.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    given = "--input", source, "--output", output
    done = command.sdjax("classify", made.folder, *given)
    assert done.status == 0, done.err
    assert "skipped 3" in done.err
    with open(output, newline="") as file:
        found = list(csv.DictReader(file))
    texts = [GOOD, "", "", "7", BAD, "a \ufffd b", "x"]
    assert [row["text"] for row in found] == texts
    scored = [row for row in found if row["p_positive"]]
    assert [row["text"] for row in scored] == [GOOD, BAD, "a \ufffd b", "x"]
    assert all(0 <= float(row["p_positive"]) <= 1 for row in scored)
    assert all(row["called"] in ("negative", "positive") for row in scored)
    # Nothing half-written beside it.
    assert sorted(tmp_path.iterdir()) == [source, output]


def test_explain_colours_characters_only_on_request(made, command, monkeypatch):
    text = "Ein schöner Tag \U0001f600 日本\x1b[2J"
    plain = command.sdjax("classify", made.folder, text, "--explain")
    assert plain.status == 0 and "\x1b" not in plain.out
    assert "schöner Tag \U0001f600 日本\ufffd[2J" in plain.out
    monkeypatch.setenv("NO_COLOR", "1")
    always = "--explain", "--color", "always"
    coloured = command.sdjax("classify", made.folder, text, *always)
    assert "\x1b[48;2;" in coloured.out and "\x1b[2J" not in coloured.out
    bare = "".join(
        part.partition("m")[2] if i else part
        for i, part in enumerate(coloured.out.split("\x1b["))
    )
    assert bare == plain.out


def test_the_page_is_self_contained_and_escapes_the_text(made, command, tmp_path):
    page = tmp_path / "page.html"
    text = "<script>alert(1)</script> & schön \U0001f600"
    done = command.sdjax("classify", made.folder, text, "--html", page)
    assert done.status == 0
    html = page.read_text(encoding="utf-8")
    assert "<script" not in html and "http" not in html and "src=" not in html
    shown = html[html.index('<p class="text">') :]
    assert "\U0001f600" in shown and "&lt;" in shown
    assert 'title="' in shown


def test_bad_input_is_refused(made, command, tmp_path, monkeypatch):
    run = command.sdjax
    piped(monkeypatch, b"\n\n")
    assert_refused(run("classify", made.folder), "no usable text", "2 empty text")
    both = "--input", tmp_path / "a.csv"
    assert_refused(run("classify", made.folder, GOOD, *both), "--input")
    assert_refused(run("classify", tmp_path, GOOD), "no classifier")
    output = "--output", tmp_path / "out.txt"
    assert_refused(run("classify", made.folder, GOOD, *output), "out.txt", ".csv")
    assert not list(tmp_path.iterdir())


def test_a_classifier_of_another_checkpoint_is_refused(made, command, tmp_path):
    from dataclasses import replace

    other = made.classifier.metadata | {"params_sha256": "0" * 64}
    replace(made.classifier, metadata=other).save(tmp_path / "other")
    done = command.sdjax("classify", tmp_path / "other", GOOD)
    assert_refused(done, "params_sha256")


def test_a_multilabel_classifier_names_all_labels_that_apply(made, command, tmp_path):
    metadata = {k: v for k, v in made.classifier.metadata.items() if k != "top_unit"}
    coef = np.zeros((3, tiny.HIDDEN))
    Classifier(
        "multilabel",
        ("funny", "useful", "long"),
        coef,
        np.array([2.0, -2.0, 1.0]),
        np.array([0.5, 0.1, 0.9]),
        metadata=metadata,
    ).save(tmp_path / "several")
    output = tmp_path / "out.jsonl"
    done = command.sdjax("classify", tmp_path / "several", GOOD, "--output", output)
    assert done.status == 0, done.err
    row = json.loads(output.read_text())
    assert row["called"] == "funny|useful"
    assert list(row) == ["text", "p_funny", "p_useful", "p_long", "called"]
    assert_refused(
        command.sdjax("classify", tmp_path / "several", GOOD, "--explain"), "top unit"
    )


def test_generate_side_by_side_and_to_a_file(made, tiny_run, command, tmp_path):
    options = "--classifier", made.folder, "--contrast", "--length", 20, "--samples", 3
    done = command.sdjax("generate", tiny_run.workdir, *options)
    assert done.status == 0, done.err
    # The sign is -1, so smaller values mean positive.
    heading = done.out.splitlines()[0]
    assert "held at -3 (positive)" in heading and "held at +3 (negative)" in heading
    assert "difference in positive:" in done.out
    assert "ch/s" in done.err
    output = tmp_path / "samples.jsonl"
    done = command.sdjax("generate", tiny_run.workdir, *options, "--out", output)
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["sample"] for row in rows] == [0, 1, 2] * 2
    assert [row["held"] for row in rows] == [{"3": -3.0}] * 3 + [{"3": 3.0}] * 3
    assert all(set(row["probabilities"]) == {"positive"} for row in rows)


def test_generate_refuses_bad_options(made, tiny_run, command):
    def refused(*arguments):
        return command.sdjax("generate", tiny_run.workdir, *arguments)

    assert_refused(refused("--unit", "top=+"), "--classifier")
    assert_refused(refused("--contrast"), "--classifier")
    assert_refused(refused("--unit", "99=1"), "99", "0..7")
    assert_refused(refused("--unit", "1"), "--unit 1", "2388=1.5")
    assert_refused(refused("--unit", "1=2", "--unit", "1=3"), "held already")
    known = "--classifier", made.folder
    assert_refused(refused(*known, "--contrast", "--unit", "3=1"), "--contrast")
    assert_refused(refused("--samples", 0), "--samples", "from 1")
    assert_refused(refused("--out", "samples.txt"), "samples.txt", ".jsonl")
