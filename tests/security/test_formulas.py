"""A text is never a live formula in the table that is written of it."""

import csv
import json

import numpy as np
import pytest

from sdjax.features.featurizer import TextFeaturizer
from sdjax.files import row_file, without_formula
from sdjax.model.classifier import Classifier

LIVE = ['=HYPERLINK("http://x","y")', "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx"]


@pytest.mark.parametrize("text", LIVE)
def test_a_formula_gets_an_apostrophe(text):
    assert without_formula(text) == f"'{text}"


@pytest.mark.parametrize("value", ["plain", "", " =not first", -2.5, 3, None, "'=x"])
def test_everything_else_stays_the_same(value):
    assert without_formula(value) is value


def read(path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_cells_and_headers_of_a_table(tmp_path):
    rows = [{"text": text, "=head": -1.5} for text in [*LIVE, "plain"]]
    with row_file(tmp_path / "a.csv") as write:
        assert write(rows) == len(LIVE)
    head, *cells = read(tmp_path / "a.csv")
    assert head == ["text", "'=head"]
    assert [row[0] for row in cells] == [*(f"'{x}" for x in LIVE), "plain"]
    assert {row[1] for row in cells} == {"-1.5"}  # a number, not a text
    with row_file(tmp_path / "b.csv", keep_formulas=True) as write:
        assert write(rows) == 0
    assert [row[0] for row in read(tmp_path / "b.csv")] == ["text", *LIVE, "plain"]
    with row_file(tmp_path / "c.jsonl") as write:
        assert write(rows) == 0
    first = json.loads((tmp_path / "c.jsonl").read_text().splitlines()[0])
    assert first["text"] == LIVE[0]


@pytest.mark.parametrize("keep", [False, True])
def test_classify_says_so_and_has_a_switch(command, tiny_run, tmp_path, keep):
    featurizer = TextFeaturizer.from_pretrained(tiny_run.workdir)
    made = Classifier(
        *("binary", ("=no", "@yes"), np.ones((1, featurizer.width)), np.zeros(1)),
        np.array([0.5]),
        metadata=featurizer.metadata(),
    )
    made.save(tmp_path / "made")
    (tmp_path / "in.txt").write_text("\n".join([*LIVE[:4], "plain"]) + "\n")
    files = ("--input", tmp_path / "in.txt", "--output", tmp_path / "out.csv")
    switch = ["--keep-formulas"] if keep else []
    done = command.sdjax("classify", tmp_path / "made", *files, *switch)
    assert done.status == 0, done.err
    _, *rows = read(tmp_path / "out.csv")
    live = [cell for row in rows for cell in row[1:3] if cell[:1] in tuple("=+-@")]
    assert bool(live) == keep
    assert ("got an apostrophe; --keep-formulas" in done.err) != keep
