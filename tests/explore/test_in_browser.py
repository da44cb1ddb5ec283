"""The page of `sdjax explore` in a real browser: `make test-browser`.

The unit of a tiny model says nothing, so a classifier of the tiny run stands in: what
is tested is that the page shows what the explorer's functions return.
"""

import csv
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import browser
import numpy as np
import pytest

pytest.importorskip("selenium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(browser.missing()), reason=browser.INSTALL),
    pytest.mark.filterwarnings("default"),  # Gradio's own
]
GOOD, BAD = "I love this. Wonderful!", "I hate this. Terrible!"


@pytest.fixture(scope="module")
def explorer(request, tmp_path_factory):
    from sdjax.explore.explorer import Explorer
    from sdjax.features import file as feature_file
    from sdjax.probe import l1_probe

    # A model and a classifier of one's own show what a real unit does.
    model, given = os.environ.get("SDJAX_MODEL"), os.environ.get("SDJAX_CLASSIFIER")
    if model:
        return Explorer.open(model, given)
    tiny_run = request.getfixturevalue("tiny_run")
    folder = tmp_path_factory.mktemp("classifier") / "classifier"
    splits = [
        feature_file.load(tiny_run.features[name])
        for name in ("train", "valid", "test")
    ]
    found = l1_probe.run_probe(*splits, n_jobs=1).classifier
    # So small a probe may leave one weight, or none: there would be nothing to rank.
    weights = np.linspace(-1, 1, found.coef.size).reshape(found.coef.shape)
    replace(found, coef=weights).save(folder)
    return Explorer.open(tiny_run.workdir, folder)


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    folder = Path(os.environ.get("SDJAX_SHOTS") or tmp_path_factory.mktemp("shots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def url(explorer):
    from sdjax.explore.server import serve

    asked, look_up = [], socket.getaddrinfo

    def noted(host, *arguments, **options):
        asked.append(host)
        return look_up(host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", noted)
        blocks = serve(explorer, port=0, wait=False)
        yield blocks.local_url
        blocks.close(verbose=False)
        blocks.files.cleanup()
    # The server's own process asks for no other host, either.
    own = (None, "localhost", "127.0.0.1", b"localhost", b"127.0.0.1")
    assert [host for host in asked if host not in own] == []


@pytest.fixture(scope="module")
def driver(downloads):
    with browser.browser(downloads) as driver:
        yield driver


@pytest.fixture
def page(driver, url):
    """The page, freshly loaded; no test may have made it ask another host."""
    page = browser.OnPage(driver, url)
    page.load()
    yield page
    outside = page.outside()
    print(f"{len(page.requests)} requests, {len(outside)} to other hosts", end=" ")
    assert outside == []
    assert not [line for line in page.console if "Error" in line]


def read(page, text: str) -> list:
    page.paste("text", text)
    page.wait(lambda: page.coloured() == f"{text} ")
    return page.colours()


def test_typing_colours_each_character_by_the_unit(page, explorer, shots):
    page.type("text", GOOD)
    page.wait(lambda: page.coloured() == f"{GOOD} ")
    good = page.colours()
    page.driver.save_screenshot(str(shots / "good.png"))
    bad = read(page, BAD)
    page.driver.save_screenshot(str(shots / "bad.png"))
    shades = [{colour for _, colour, _ in cells} for cells in (good, bad)]
    assert len(shades[0]) > 1 and len(shades[1]) > 1
    assert [c[1] for c in good] != [c[1] for c in bad]
    values = explorer.read(BAD).values(explorer.first_unit())[1]
    assert [c[2] for c in bad] == [f"{v:+.2f}".replace("-", "\u2212") for v in values]
    print(f"{len(shades[0])} and {len(shades[1])} colours;", page.text("#verdict"))


def test_an_example_is_read_when_it_is_picked(page, explorer):
    example = explorer.examples[2]

    def found():
        return [b for b in page.find("button") if b.text == example]

    page.wait(found)[0].click()
    page.wait(lambda: page.coloured() == f"{example} ")


def test_another_unit_colours_the_same_text_otherwise(page, explorer, shots):
    before = read(page, GOOD)
    other = explorer.most_active(explorer.read(GOOD))[-1]
    page.type("unit", explorer.label(other))
    page.wait(lambda: page.colours() != before and page.coloured() == f"{GOOD} ")
    values = explorer.read(GOOD).values(other)[1]
    wanted = [f"{v:+.2f}".replace("-", "\u2212") for v in values]
    page.wait(lambda: [c[2] for c in page.colours()] == wanted)
    page.type("unit", "99999")
    page.wait(lambda: "99999" in page.text("#status"))


@pytest.mark.parametrize("listed", ["ranking", "active"])
def test_a_unit_is_chosen_from_a_list(page, listed):
    read(page, GOOD)
    before = page.value("unit")

    def choose():
        """Open the list and pick; what arrives meanwhile may close it again."""
        if not page.find("[role=option]"):
            page.find(f"#{listed} input")[0].click()
        for option in page.find("[role=option]"):
            if option.text and before not in option.text.split():
                option.click()
                break
        return page.value("unit") != before

    page.wait(choose)
    chosen = page.value("unit")
    page.wait(lambda: f"unit {chosen} " in page.text("#verdict"))


def test_bits_are_shown_when_they_are_asked_for(page, shots):
    read(page, GOOD)
    assert not page.find("#coloured-bits .text span")
    page.click("#bits input")
    page.wait(lambda: len(page.find("#coloured-bits .text span")) == len(GOOD) + 1)
    page.driver.save_screenshot(str(shots / "bits.png"))


@pytest.mark.parametrize(
    "text",
    ["<script>document.title='x'</script><b>b</b>", "${1+1} {{value}} &amp; %3C"],
)
def test_text_is_shown_as_text(page, text):
    title = page.driver.title
    page.paste("text", text)
    shown = text.replace("&amp;", "&")  # as a review is cleaned
    page.wait(lambda: page.coloured() == f"{shown} ")
    assert not page.find("#coloured script, #coloured .text b")
    assert page.driver.title == title
    page.open_tab("Write")
    page.paste("prompt", text)
    page.slide("length", 10)
    page.click("#write")
    page.wait(lambda: "done" in page.text("#write-status"))
    assert page.value("left-sample").startswith(text)


def test_a_text_over_the_limit_is_refused_in_words(page, explorer):
    page.paste("text", "x" * (explorer.limit + 1))
    page.wait(lambda: f"{explorer.limit:,} are read" in page.text("#status"))


def test_the_model_writes_with_the_unit_at_both_ends(page, explorer, shots):
    page.open_tab("Write")
    page.type("prompt", "I bought")
    page.slide("length", 60)
    low, high = explorer.range_of(explorer.first_unit())
    page.slide("left", low)
    page.slide("right", high)
    page.click("#write")
    page.wait(lambda: "done" in page.text("#write-status"))
    page.driver.save_screenshot(str(shots / "write.png"))
    left, right = page.value("left-sample"), page.value("right-sample")
    assert (
        left != right and left.startswith("I bought") and right.startswith("I bought")
    )
    print(f"{left!r} | {right!r}")


def test_stop_stops(page, explorer, monkeypatch):
    calls, write = [], explorer.write

    def slow(*arguments):
        for texts in write(*arguments):
            calls.append(texts)
            time.sleep(0.2)
            yield texts

    monkeypatch.setattr(explorer, "write", slow)
    page.open_tab("Write")
    page.paste("prompt", "I bought")
    page.slide("length", 1000)
    page.slide("temperature", 1.5)
    page.click("#write")
    page.wait(lambda: len(calls) > 2)
    page.click("#stop")
    page.wait(lambda: "stopped" in page.text("#write-status"))
    time.sleep(0.5)
    count, text = len(calls), page.value("left-sample")
    time.sleep(1)
    assert len(calls) == count and page.value("left-sample") == text


def test_a_table_comes_back_scored(page, downloads, tmp_path, shots):
    given = tmp_path / "mine.csv"
    rows = [
        ["id", "review", "note"],
        ["1", GOOD, "=1+1"],
        ["2", BAD, "-3"],
        ["3", "", "x"],
    ]
    with given.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    page.open_tab("Table")
    page.find("#table input[type=file]")[0].send_keys(str(given))
    page.wait(lambda: page.value("column") == "review")
    page.click("#score")
    page.wait(lambda: "2 of 3 rows scored" in page.text("#table-status"))
    page.driver.save_screenshot(str(shots / "table.png"))
    page.wait(lambda: page.find("#scored a[download]"))
    page.click("#scored a[download]")
    out = downloads / "mine-scored.csv"
    page.wait(out.exists)
    with out.open(newline="") as file:
        head, *found = csv.reader(file)
    assert head[:4] == ["id", "review", "note", "called"] and len(found) == 3
    assert [row[:3] for row in found] == [["1", GOOD, "'=1+1"], *rows[2:]]
    assert all(found[0][3:]) and not any(found[2][3:])
    print(head, found[0])


def test_the_link_brings_back_what_is_shown(page, url, explorer):
    read(page, GOOD)
    other = explorer.label(explorer.most_active(explorer.read(GOOD))[-1])
    page.type("unit", other)
    page.wait(lambda: f"unit {other} " in page.text("#verdict"))
    page.click("#bits input")
    page.open_tab("Write")
    page.paste("prompt", "They said")
    page.slide("seed", 7)
    page.click("#make-link")
    page.wait(lambda: "seed=7" in page.value("link"))
    page.wait(lambda: "seed=7" in page.driver.current_url)
    link, values = page.value("link"), [page.value(n) for n in ("left", "right")]
    page.driver.get(link)
    page.wait(lambda: page.coloured() == f"{GOOD} ")
    assert page.value("unit") == other
    page.wait(lambda: page.find("#coloured-bits .text span"))
    page.open_tab("Write")
    assert page.value("prompt") == "They said" and page.value("seed") == "7"
    assert [page.value(n) for n in ("left", "right")] == values
    page.driver.get(f"{url}?unit=99999")
    page.wait(lambda: "99999" in page.text("#arrival"))


def test_two_tabs_do_not_mix_or_wait(page, url, explorer, monkeypatch):
    write = explorer.write

    def slow(*arguments):
        for texts in write(*arguments):
            time.sleep(0.3)
            yield texts

    monkeypatch.setattr(explorer, "write", slow)
    read(page, GOOD)
    page.open_tab("Write")
    page.slide("length", 1000)
    page.slide("temperature", 1.5)
    page.click("#write")
    page.wait(lambda: "characters" in page.text("#write-status"))
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    other = browser.OnPage(page.driver, url)
    other.load()
    read(other, BAD)  # while the first tab is still writing
    page.driver.close()
    page.driver.switch_to.window(first)
    assert "done" not in page.text("#write-status")
    page.click("#stop")
    page.wait(lambda: "stopped" in page.text("#write-status"))
    page.open_tab("Read")
    assert page.coloured() == f"{GOOD} "


def test_a_narrow_window_shows_all_of_it(page, shots):
    page.driver.set_window_size(500, 1100)
    page.load()
    read(page, GOOD)
    page.driver.save_screenshot(str(shots / "narrow.png"))
    wide = page.driver.execute_script(
        "return document.documentElement.scrollWidth - window.innerWidth"
    )
    page.driver.set_window_size(1280, 1000)
    assert wide <= 0
