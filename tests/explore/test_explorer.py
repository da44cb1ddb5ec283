"""What the page shows, as functions: readings, units, links, tables."""

import csv

import numpy as np
import pytest
from fixtures_run import in_a_process

from sdjax.errors import InputError
from sdjax.explore.explorer import Explorer
from sdjax.explore.link import Settings
from sdjax.explore.table import open_table, scored, write_table
from sdjax.explore.tabs import TABS, Tabs
from sdjax.features import file as feature_file
from sdjax.inference.prefixes import States
from sdjax.inference.sampling import Sampling
from sdjax.probe import l1_probe

TEXT = "I love this. Caf\u00e9 & <b>"


@pytest.fixture(scope="module", params=["last", ["cell:mean", "hidden:max"]], ids=str)
def explorer(request, tiny_run, tmp_path_factory):
    from sdjax import TextFeaturizer
    from sdjax.model.classifier import Classifier

    if request.param == "last":
        names = ("train", "valid", "test")
        splits = [feature_file.load(tiny_run.features[name]) for name in names]
        classifier = l1_probe.run_probe(*splits, n_jobs=1).classifier
    else:
        read = TextFeaturizer(tiny_run.workdir, pooling=request.param)
        metadata = read.metadata()
        width = read.width
        coef = np.linspace(-1, 1, width)[None]
        classifier = Classifier(
            "binary", ("bad", "good"), coef, np.zeros(1), np.array([0.5]), "sigmoid",
            metadata,
        )  # fmt: skip
    folder = tmp_path_factory.mktemp("classifier") / "classifier"
    classifier.save(folder)
    return Explorer.open(None, folder)


def test_a_reading_is_what_classify_says(explorer, tolerances):
    found, (score,) = explorer.read(TEXT), explorer.scorer.score([TEXT])
    assert found.called == score.called
    for name, p in score.probabilities.items():
        np.testing.assert_allclose(found.probabilities[name], p, **tolerances["oracle"])


def test_bits_of_characters_add_up_to_those_of_bytes(explorer):
    found = explorer.read(TEXT)
    assert found.bits.values.sum() == pytest.approx(found.states.bits.sum())
    place = found.text.encode().index("\u00e9".encode())
    assert found.bits.values[place] == 0 < found.bits.values[place + 1]


def test_the_text_is_escaped(explorer):
    shown = str(explorer.coloured(explorer.read(TEXT), explorer.first_unit()))
    assert "<b>" not in shown.partition('class="text"')[2]
    assert (
        shown
        == explorer.coloured(explorer.read(TEXT), explorer.first_unit())._repr_html_()
    )


def test_the_sentiment_unit_comes_first_where_the_classifier_names_one(explorer):
    named = explorer.sentiment_unit
    assert (named is None) == ("top_unit" not in explorer.classifier.metadata)
    if named is not None:
        assert explorer.ranking()[0] == explorer.first_unit() == named
    low, high = explorer.range_of(explorer.first_unit())
    assert all(low <= end <= high for end in explorer.ends(explorer.first_unit()))


def test_the_unit_that_is_moved_is_the_most_active(explorer):
    reading = explorer.read(TEXT)
    states = reading.states
    cell = states.cell.copy()
    cell[:, 3] += 100
    moved = reading._replace(states=states._replace(cell=cell))
    assert explorer.most_active(moved)[0] == 3


def test_two_samples_are_written_side_by_side(explorer):
    sampling = Sampling(24, 0.0)
    *_, last = explorer.write("I", explorer.first_unit(), (-50.0, 50.0), sampling)
    *_, same = explorer.write("I", explorer.first_unit(), (None, None), sampling)
    assert last[0] != last[1] and same[0] == same[1]


@pytest.mark.parametrize("bad", ["8", "-1", "1:0", "x", ""])
def test_a_unit_that_is_not_there_is_refused(explorer, bad):
    with pytest.raises(InputError):
        explorer.unit(bad)


def test_a_text_over_the_limit_is_refused(explorer):
    with pytest.raises(InputError, match="2,000"):
        explorer.read("x" * 2000)


def test_a_link_brings_the_settings_back(explorer):
    from urllib.parse import parse_qsl

    first = Settings.first(explorer)
    made = first._replace(text=TEXT, bits=True, prompt="a&b", seed=7, temperature=0.25)
    query = dict(parse_qsl(made.query(), keep_blank_values=True))
    assert Settings.of_query(query, explorer, first) == made
    assert Settings.of_query({}, explorer, first) == first


@pytest.mark.parametrize(
    "query",
    [
        {"unit": "99"}, {"bits": "2"}, {"seed": "x"}, {"seed": "-1"}, {"left": "nan"},
        {"left": "1e9"}, {"length": "1001"}, {"temperature": "-1"},
        {"text": "x" * 9999},
    ],
)  # fmt: skip
def test_a_link_with_a_wrong_value_is_refused(explorer, query):
    with pytest.raises(InputError):
        Settings.of_query(query, explorer, Settings.first(explorer))


def test_a_table_comes_back_with_every_row(explorer, tmp_path):
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as file:
        rows = [["review", "unit_0"], [TEXT, "=1+1"], ["", "-3"], ["b", "@x"]]
        csv.writer(file).writerows(rows)
    table = open_table(path)
    assert table.text == "review"
    *_, (done, found, report) = scored(explorer, table, "review", 0)
    assert (done, report.kept, report.skipped.total()) == (2, 2, 1)
    reading = explorer.read(TEXT)
    assert found[0]["unit_0_"] == pytest.approx(reading.states.cell[-1, 0], abs=1e-5)
    assert found[1]["unit_0_"] == ""
    assert write_table(tmp_path / "out.csv", found) == 2
    with (tmp_path / "out.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["unit_0"] for row in written] == ["'=1+1", "-3", "'@x"]
    with pytest.raises(InputError, match="nothere"):
        next(scored(explorer, table, "nothere", 0))


def test_the_newest_call_of_a_tab_goes_on_and_older_ones_stop(explorer):
    tabs = Tabs(explorer.reader)
    tab, data = tabs.of("a"), explorer.encode("x" * 100)
    old = tab.read(data, tab.begin("read"))
    assert next(old) == 0
    new = tab.read(data, tab.begin("read"))
    assert isinstance(list(new)[-1], States)
    assert list(old) == [None]
    tabs.close("a")
    assert tabs.of("a") is not tab
    for name in range(TABS):
        tabs.of(str(name))
    assert len(tabs._open) == TABS


def test_the_page_is_built(tiny_run, tmp_path):
    """In a process of its own: Gradio leaves event loops behind."""
    code = f"""
from pathlib import Path
from sdjax.explore import page
from sdjax.explore.explorer import Explorer

blocks = page.build(Explorer.open({str(tiny_run.workdir)!r}), Path({str(tmp_path)!r}))
print({{block.elem_id for block in blocks.blocks.values()}})
"""
    done = in_a_process("-c", code)
    assert done.status == 0, done.err
    for name in ("text", "unit", "write", "stop", "score", "link"):
        assert repr(name) in done.out
