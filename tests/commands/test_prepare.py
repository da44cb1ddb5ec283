"""`sdjax prepare` end to end, and one-line errors for bad input."""

import csv
import gzip
import json
import re

import pytest
from fixtures_run import assert_refused

from sdjax.data.corpus import Corpus
from sdjax.prepare import pipeline, synthetic


def reviews(count: int) -> list[dict]:
    return [{"body": e.text, "stars": e.label} for e in synthetic.reviews(count, 0)]


def jsonl(rows) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def raise_no_space(*args, **kwargs):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.txt"])
def test_prepare_reads_every_format(tmp_path, command, name):
    rows = reviews(120)
    source, options = tmp_path / name, ["--text-key", "body", "--label-key", "stars"]
    if name == "a.csv":
        with source.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    elif name == "a.txt":
        source.write_text("".join(row["body"] + "\n" for row in rows))
        options = []
    else:
        data = jsonl(rows)
        source.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    out = tmp_path / "corpus"
    done = command.sdjax("prepare", source, "--out", out, "--shards", "2/1/1", *options)
    assert done.status == 0, done.err
    assert done.out.startswith("read 120; skipped 0\nexact duplicates dropped: 0\n")
    assert re.search(r"^train +\d+ reviews +[\d,]+ bytes +2 shards$", done.out, re.M)
    made = Corpus.open(out)
    made.verify()
    found = {e.text: e.label for s in made.shards for e in made.examples(s)}
    labels = {row["body"]: row["stars"] if options else None for row in rows}
    assert found == labels


def test_prepare_the_built_in_corpus_twice(tmp_path, command):
    arguments = ["prepare", "synthetic", "--reviews", 60, "--shards", "1/1/1"]
    out = tmp_path / "corpus"
    assert command.sdjax(*arguments, "--out", out).status == 0
    made = Corpus.open(out)
    assert made.manifest["request"]["source"] == {"name": "synthetic", "reviews": 60}
    again = command.sdjax(*arguments, "--out", out)
    assert again.status == 0 and "already prepared" in again.err
    assert "train" in again.out
    refused = command.sdjax(*arguments, "--out", out, "--seed", 1)
    assert_refused(refused, str(out), "seed is 0 there and 1 here")


def test_prepare_strips_tags_when_asked(tmp_path, command):
    source = tmp_path / "a.txt"
    source.write_text("".join(f"good<br />number {i}\n" for i in range(80)))
    arguments = ["prepare", source, "--shards", "1/1/1", "--strip-tags"]
    assert command.sdjax(*arguments, "--out", tmp_path / "c").status == 0
    made = Corpus.open(tmp_path / "c")
    assert made.normalisation.strip_tags
    assert "<" not in next(made.examples("train")).text


def test_prepare_counts_bad_rows_and_names_the_first(tmp_path, command):
    rows = [json.dumps(row).encode() for row in reviews(400)]
    rows[10], rows[20], rows[30] = b'{"body": "caf\xe9"}', b"{", b'{"body": " "}'
    source = tmp_path / "a.jsonl"
    source.write_bytes(b"\n".join(rows))
    arguments = ["prepare", source, "--shards", "1/1/1", "--text-key", "body"]
    done = command.sdjax(*arguments, "--out", tmp_path / "c")
    assert done.status == 0
    assert "read 400; skipped 3" in done.out
    for reason, line in (("non-UTF-8 bytes", 11), ("malformed JSON", 21)):
        assert f"1 {reason} (first: {source}:{line}" in done.out
    assert f"1 empty text (first: {source}:31)" in done.out
    strict = [*arguments, "--max-bad-fraction", 0.001, "--out", tmp_path / "d"]
    assert_refused(command.sdjax(*strict), "0.8%", f"{source}:11")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    "name, content, options, words",
    [
        ("a.csv", None, [], ["a.csv", "no such file"]),
        ("a.csv", b"", [], ["a.csv", "empty"]),
        ("a.csv", b"body,n\n", [], ["no usable text"]),
        ("a.csv", b"title,n\na,1\n", [], ["exist: title, n", "--text-key"]),
        ("a.csv", b"text,n\na,1\n", ["--text-key", "t"], ["'t'", "exist: text, n"]),
        ("a.csv", b"text,n\na,1\n", ["--label-key", "y"], ["'y'", "exist: text, n"]),
        ("a.jsonl", b'{"text": "a"}\n{"te\n', [], ["50.0%", "malformed", "a.jsonl:2"]),
        ("a.txt", b"good\nbad\xff\n", [], ["50.0%", "non-UTF-8", "a.txt:2"]),
        ("a.txt", b"\n \n", [], ["no usable text", "2 empty text", "a.txt:1"]),
        ("a.txt", b"one\ntwo\n", [], ["2 different reviews", "--shards 1/1/1"]),
        ("a.xml", b"<a/>", [], ["a.xml", "markup", "--format text"]),
        ("a.csv.gz", b"no gzip", [], ["a.csv.gz", "exist: no gzip"]),
        ("a.txt", b"one\n", ["--shards", "0/1/1"], ["--shards", "'0/1/1'"]),
    ],
)
def test_prepare_bad_input(tmp_path, command, name, content, options, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    out = tmp_path / "corpus"
    arguments = ["prepare", tmp_path / name, "--out", out, "--shards", "9/1/1"]
    assert_refused(command.sdjax(*arguments, *options), *words)
    assert not out.exists() and not list(tmp_path.glob(".corpus*"))


def test_prepare_of_no_reviews(tmp_path, command):
    arguments = ["prepare", "synthetic", "--out", tmp_path / "c", "--reviews", 0]
    assert_refused(
        command.sdjax(*arguments, "--shards", "1/1/1"), "--reviews", "from 1"
    )


def test_prepare_where_nothing_can_be_written(command, tmp_path):
    (tmp_path / "file").write_text("")
    below_a_file = tmp_path / "file" / "folder"  # not even root can create it
    refused = command.sdjax("prepare", "synthetic", "--out", below_a_file)
    assert_refused(refused, str(below_a_file), "another output folder")


def test_prepare_on_a_full_disk(tmp_path, command, monkeypatch):
    monkeypatch.setattr(pipeline, "write_run", raise_no_space)
    out = tmp_path / "corpus"
    arguments = ["prepare", "synthetic", "--reviews", 60, "--shards", "1/1/1"]
    refused = command.sdjax(*arguments, "--out", out)
    assert_refused(refused, str(out), "disk full", "free")
    assert not list(tmp_path.iterdir())
