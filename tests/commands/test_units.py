"""`sdjax units`: the page and the table are what the Python function found."""

import csv

import pytest
from fixtures_run import assert_refused

from sdjax.checkpoints.load import load_model
from sdjax.inference.units.find import find_units
from sdjax.report import units_page


def test_the_command_gives_the_numbers_of_the_function(tiny_run, command, tmp_path):
    page = tmp_path / "units.html"
    done = command.sdjax(
        *("units", tiny_run.workdir, "--input", tiny_run.texts["test"], "--out", page),
        *("--text-key", "sentence", "--label-key", "label", "--unit", 3),
        *("--property", "love=lov(e|ely)", "--permutations", 3, "--characters", 900),
    )
    assert done.status == 0, done.err
    with tiny_run.texts["test"].open() as file:
        rows, count = [], 0
        for row in csv.DictReader(file):
            rows.append(row)
            count += len(row["sentence"])
            if count >= 900:
                break
    assert len(rows) < 30
    found = find_units(
        load_model(tiny_run.workdir),
        [row["sentence"] for row in rows],
        columns={"label": [float(row["label"]) for row in rows]},
        patterns={"love": "lov(e|ely)"},
        units=[3],
        permutations=3,
    )
    lines = done.out.splitlines()
    expected = units_page.table(found)
    assert lines[: len(expected)] == expected
    assert page.read_text() == units_page.page(found)
    assert f"{found.characters[0]:,} characters of {found.texts[0]} texts" in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--property", "love"], ["NAME=REGEX"]),
        (["--property", "a=x", "--property", "a=y"], ["a", "twice"]),
        (["--property", "a=("], ["--property a=(", "regular expression"]),
        (["--unit", "8"], ["--unit 8", "0..7"]),
        (["--unit", "a:b"], ["--unit a:b", "1:178"]),
        (["--characters", "0"], ["--characters", "'0'"]),
    ],
)
def test_bad_requests_are_refused(arguments, words, tiny_run, command, tmp_path):
    page = tmp_path / "units.html"
    done = command.sdjax(
        *("units", tiny_run.workdir, "--input", tiny_run.texts["test"], "--out", page),
        *("--text-key", "sentence", *arguments),
    )
    assert_refused(done, *words)
    assert not page.exists()
