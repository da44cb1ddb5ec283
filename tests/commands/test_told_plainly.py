"""What a newcomer gets wrong is told, with what mends it, and nothing is ignored."""

import csv
import io
import shutil
import sys

import numpy as np
import pytest
import tiny
from fixtures_corpus import make
from fixtures_run import assert_refused

from sdjax.features.featurizer import TextFeaturizer
from sdjax.model.classifier import Classifier
from sdjax.training import loop


@pytest.fixture(scope="module")
def moved(tiny_run, tmp_path_factory):
    """A classifier and, beside it, a copy of the run whose features it reads."""
    folder = tmp_path_factory.mktemp("moved")
    shutil.copytree(tiny_run.workdir, folder / "run")
    shape = {"coef": np.ones((1, tiny.HIDDEN)), "intercept": np.zeros(1)}
    Classifier(
        "binary",
        ("no", "yes"),
        **shape,
        thresholds=np.array([0.5]),
        metadata=TextFeaturizer.from_pretrained(folder / "run").metadata(),
    ).save(folder / "classifier")
    return folder


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "te.csv"
    path.write_text("text,label\n" + "".join(f"row {i},{i % 2}\n" for i in range(90)))
    return path


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--reviews", 5), "--reviews 5: is of the source 'synthetic'"),
        (("--spark-master", "local[2]"), "--spark-master local[2]: is of --engine"),
        (("--engine", "spark", "--workers", 2), "--workers 2: is of --engine embedded"),
    ],
)
def test_prepare_refuses_what_its_source_does_not_read(
    table, command, tmp_path, given, words
):
    refused = command.sdjax("prepare", table, *given, "--out", tmp_path / "c")
    assert_refused(refused, words)


def test_synthetic_reviews_are_not_read_from_a_file(command, tmp_path):
    for given in (("--max-bad-fraction", 0.5), ("--delimiter", ";")):
        done = command.sdjax("prepare", "synthetic", *given, "--out", tmp_path / "c")
        assert_refused(done, given[0], "not read from a file")


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("a.jsonl", ("--delimiter", ";"), "--delimiter is of tables of lines"),
        ("a.jsonl", ("--no-header",), "--no-header is of tables of lines"),
        ("a.jsonl", ("--quoting", "none"), "--quoting is of tables of lines"),
        ("a.jsonl", ("--escapechar", "\\"), "--escapechar is of tables of lines"),
        ("pos/a.txt", ("--encoding", "cp1252"), "--encoding is of files of text"),
    ],
)
def test_options_of_other_formats(command, tmp_path, name, given, words):
    path = tmp_path / "in" / name
    path.parent.mkdir(parents=True)
    path.write_text('{"text": "one"}\n{"text": "two"}\n')
    if "/" in name:  # the layout of aclImdb
        (tmp_path / "in" / "neg").mkdir()
        path.rename(path.with_name("0_9.txt"))
        (tmp_path / "in" / "neg" / "1_2.txt").write_text("bad")
        path = tmp_path / "in"
    refused = command.sdjax("prepare", path, *given, "--out", tmp_path / "c")
    assert_refused(refused, words, "leave it out")


def test_an_option_that_one_of_several_files_reads(table, command, tmp_path):
    (tmp_path / "b.jsonl").write_text('{"text": "one"}\n')
    given = ("prepare", table, tmp_path / "b.jsonl", "--delimiter", ",")
    done = command.sdjax(*given, "--shards", "1/1/1", "--out", tmp_path / "c")
    assert done.status == 0, done.err


def test_fasta_without_its_codec_gets_a_hint(command, tmp_path):
    path = tmp_path / "p.fasta"
    path.write_text(
        "".join(f">P{i}\nMK{'ACDEFGHIKL'[i % 10] * i}\n" for i in range(90))
    )
    given = ("prepare", path, "--shards", "1/1/1")
    done = command.sdjax(*given, "--out", tmp_path / "text")
    assert done.status == 0, done.err
    assert f"note: {path} holds sequences" in done.err
    assert "--codec protein" in done.err
    done = command.sdjax(*given, "--codec", "protein", "--out", tmp_path / "protein")
    assert done.status == 0 and "note:" not in done.err


def test_a_dash_is_standard_input(moved, command, monkeypatch):
    piped = io.TextIOWrapper(io.BytesIO(b"one text\nand another\n"))
    monkeypatch.setattr(sys, "stdin", piped)
    done = command.sdjax("classify", moved / "classifier", "-")
    assert done.status == 0, done.err
    assert [line.split()[-1] for line in done.out.splitlines()[1:]] == [
        "text",
        "another",
    ]
    refused = command.sdjax("classify", moved / "classifier", "-", "a text")
    assert_refused(refused, "- stands for standard input")


def test_a_checkpoint_that_was_moved(moved, command, tmp_path):
    shutil.copytree(moved, tmp_path / "m")
    (tmp_path / "m" / "run").rename(tmp_path / "elsewhere")
    classifier = tmp_path / "m" / "classifier"
    refused = command.sdjax("classify", classifier, "a text")
    step = f"{tmp_path}/m/run/checkpoints/"
    assert_refused(refused, f"{classifier}: the checkpoint", step, "--checkpoint")
    found = "--checkpoint", tmp_path / "elsewhere"
    assert command.sdjax("classify", classifier, "a text", *found).status == 0


@pytest.mark.parametrize(
    "given",
    [
        ("classify", "openia", "a text"),
        ("classify", "openia", "--unit", 3, "a text"),
        ("generate", "openia"),
        ("verify", "openia"),
    ],
)
def test_almost_a_published_name(command, given):
    refused = command.sdjax(*given)
    assert_refused(refused, "openia: ", "published weights of a similar name: openai")


def test_a_name_of_the_hub_is_not_almost_a_published_one(tmp_path):
    from sdjax.checkpoints import names

    for other in ("openai/openai", "./openia", "nothing-like-it"):
        assert names.similar(tmp_path / other) == ""
    assert names.similar(type(tmp_path)("unirep")) != ""


def test_numbers_that_no_memory_holds(tiny_run, command, monkeypatch):
    refused = command.sdjax("generate", tiny_run.workdir, "--samples", 2 * 10**9)
    assert_refused(refused, "2,000,000,000 samples (--samples)", "at most")
    from sdjax import bounds

    pages = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 10_000}
    monkeypatch.setattr(bounds.os, "sysconf", pages.get)
    evaluate = ("evaluate", tiny_run.workdir, "--corpus", tiny_run.corpus)
    refused = command.sdjax(*evaluate, "--batch-size", 100)
    assert_refused(refused, "100 rows at once (the batch size)", "at most ")
    given = ("--samples", 64, "--length", 1)
    assert_refused(command.sdjax("generate", tiny_run.workdir, *given), "samples")


def test_more_rows_than_the_split_has_bytes(tiny_run, command):
    evaluate = ("evaluate", tiny_run.workdir, "--corpus", tiny_run.corpus)
    refused = command.sdjax(*evaluate, "--batch-size", 999_999_999)
    assert_refused(refused, "too few for a batch of 999999999 rows")


def test_samples_in_a_table_are_columns(moved, command, tmp_path):
    out = tmp_path / "made.csv"
    given = ("--samples", 2, "--length", 3, "--unit", "3=1.5", "--unit", "1=-2")
    done = command.sdjax(
        *("generate", moved / "run", *given, "--out", out),
        *("--classifier", moved / "classifier"),
    )
    assert done.status == 0, done.err
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["sample", "held", "text", "called", "p_yes"]
    assert [row["sample"] for row in rows] == ["0", "1"]
    for row in rows:
        assert row["held"] == "3=1.5 1=-2"
        assert row["called"] == ("yes" if float(row["p_yes"]) > 0.5 else "no")


def test_a_page_has_its_folder_before_the_work(moved, command, tmp_path, monkeypatch):
    page = tmp_path / "new" / "page.html"
    given = ("classify", moved / "run", "--unit", 3, "a text", "--html")
    assert command.sdjax(*given, page).status == 0 and page.exists()
    from sdjax.inference import unit_scoring

    monkeypatch.setattr(unit_scoring, "open_scorer", None)
    assert_refused(command.sdjax(*given, tmp_path), "is a folder; name a file")
    blocked = page / "below-a-file" / "page.html"
    assert_refused(command.sdjax(*given, blocked), "page.html", status=1)


def test_another_corpus_is_named_by_its_folder(tiny_run, command, tmp_path):
    shutil.copytree(tiny_run.workdir, tmp_path / "run")
    other = make(tmp_path / "other")
    config = tiny.config(other.folder)
    refused = command.train(config, tmp_path / "run")
    assert_refused(refused, "corpus.fingerprint is", "there and ../other here")


def test_a_run_that_is_past_its_end(tiny_run, command, tmp_path):
    shutil.copytree(tiny_run.workdir, tmp_path / "run")
    config = tiny_run.config.copy_and_resolve_references()
    config.train_steps = config.train_steps - 4
    refused = command(lambda: loop.train(config, tmp_path / "run"))
    assert_refused(refused, "at step 12 already", "8 that config.train_steps", "more")
