"""What a command writes never replaces what it reads, or what is not its own."""

import os

import pytest
from fixtures_run import assert_refused

from sdjax.files import replacing

TABLE = "text,label\ngood one,1\nbad one,0\n"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(TABLE)
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ("classify", "{run}", "--unit", 3, "--input", "{in}", "--output", "{in}"),
        ("classify", "{run}", "--unit", 3, "--input", "{in}", "--html", "{link}"),
        ("units", "{run}", "--input", "{page}", "--format", "csv", "--out", "{page}"),
        ("featurize", "--checkpoint", "{run}", "--input", "{npy}", "--format", "csv")
        + ("--output", "{npy}"),
        ("featurize", "--checkpoint", "{run}", "--input", "{in}", "--units", 3)
        + ("--output", "{in}"),
    ],
    ids=lambda words: f"{words[0]} {words[-2]}",
)
def test_an_input_is_not_overwritten(tiny_run, command, table, arguments):
    names = {"run": tiny_run.workdir, "in": table, "link": table.with_suffix(".html")}
    names["link"].symlink_to(table)
    for kind in ("page", "npy"):
        names[kind] = table.with_name(f"{kind}.{'html' if kind == 'page' else kind}")
        names[kind].write_text(TABLE)
    words = [str(word).format(**names) for word in arguments]
    assert_refused(command.sdjax(*words), words[-1], "is an input", "give another")
    for name in ("in", "page", "npy"):
        assert names[name].read_text() == TABLE


def test_no_device_or_pipe_is_replaced(tiny_run, command, table):
    pipe = table.with_name("pipe.html")
    os.mkfifo(pipe)
    done = command.sdjax("classify", tiny_run.workdir, "--unit", 3, "x", "--html", pipe)
    assert_refused(done, f"{pipe}: is not a regular file")
    assert pipe.is_fifo()
    link = table.with_name("link")
    link.symlink_to(pipe)
    with pytest.raises(Exception, match="not a regular file"), replacing(link):
        pass


def test_pictures_of_others_stay(tiny_run, command, table):
    folder = table.with_name("pictures")
    folder.mkdir()
    (folder / "data_efficiency.png").write_bytes(b"mine")
    files = [
        x for split, path in tiny_run.features.items() for x in (f"--{split}", path)
    ]
    options = ("--draws", 0, "--one-checkpoint", "--workers", 1, "--out", folder)
    done = command.sdjax("probe", *files, *options)
    assert_refused(done, "is no report", "data_efficiency.png")
    assert [p.name for p in folder.iterdir()] == ["data_efficiency.png"]


def test_the_page_of_units_is_called_so(tiny_run, command, table):
    done = command.sdjax("units", tiny_run.workdir, "--input", table, "--out", "a.csv")
    assert_refused(done, "--out a.csv", ".html")
