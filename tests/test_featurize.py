"""featurize.py: any labelled file in, its features out in order; bad input refused."""

import json

import numpy as np
import pytest
from fixtures_run import COUNTS, assert_refused

from sdjax import featurefile
from sdjax.corpus import Corpus
from sdjax.features import TextFeaturizer


@pytest.fixture
def featurize(tiny_run, tmp_path, command):
    """Featurize a file of texts, or what is written to one, to tmp_path/out.npz."""

    def run(content, *options, name="in.csv", checkpoint=tiny_run.workdir):
        path = tmp_path / name
        if content is not None:
            data = content.encode() if isinstance(content, str) else content
            path.write_bytes(data)
        arguments = ["--checkpoint", checkpoint, "--input", path]
        arguments += ["--output", tmp_path / "out.npz", "--batch-size", 16]
        return command.featurize(*arguments, *options)

    return run


def nothing_written(tmp_path) -> bool:
    return not [p for p in tmp_path.rglob("*") if ".npz" in p.name]


def test_a_features_file_has_everything_in_the_order_of_the_input(tiny_run):
    made = featurefile.load(tiny_run.features["valid"])
    lines = tiny_run.texts["valid"].read_text().splitlines()[1:]
    assert len(made) == len(lines) == COUNTS["valid"]
    assert [f"{int(label)}" for label in made.labels] == [line[0] for line in lines]
    assert all(t.split()[-1] in x for t, x in zip(made.texts, lines, strict=True))
    assert made.ids.tolist() == list(range(len(lines)))
    featurizer = TextFeaturizer.from_pretrained(tiny_run.workdir, batch_size=16)
    np.testing.assert_array_equal(made.features, featurizer.transform(made.texts))


def test_the_metadata_says_where_features_come_from(tiny_run):
    made = featurefile.load(tiny_run.features["test"]).metadata
    steps = {str(p) for p in (tiny_run.workdir / "checkpoints").iterdir()}
    assert made["checkpoint"] in steps
    assert made["checkpoint"].endswith(f"/{made['step']}")
    assert made["input"] == str(tiny_run.texts["test"])
    given = {k: made[k] for k in ("state", "pooling", "precision", "skipped")}
    assert given == {
        "state": "cell",
        "pooling": "last",
        "precision": "fp32",
        "skipped": {},
    }
    assert made["normalisation"] == {"strip_tags": False}


def test_json_lines_without_labels(featurize, tmp_path):
    lines = "".join(json.dumps({"text": t, "n": 1}) + "\n" for t in ("a", "b\nc"))
    done = featurize(lines, name="in.jsonl")
    assert done.status == 0 and "2 texts x 8 units" in done.out
    made = featurefile.load(tmp_path / "out.npz")
    assert made.labels is None and made.texts == ["a", "b\nc"]


def test_a_split_of_a_corpus_with_its_labels(tiny_run, tmp_path, command):
    output = tmp_path / "new" / "folder" / "out.npz"
    arguments = ["--checkpoint", tiny_run.workdir, "--input", tiny_run.corpus]
    arguments += ["--output", output, "--batch-size", 16]
    done = command.featurize(*arguments, "--split", "valid")
    assert done.status == 0, done.err
    made = featurefile.load(output)
    examples = list(Corpus.open(tiny_run.corpus).examples("valid"))
    assert made.texts == [e.text for e in examples]
    assert made.labels.tolist() == [e.label for e in examples]
    assert_refused(command.featurize(*arguments), "not given", "train, valid, test")
    refused = command.featurize(*arguments, "--split", "vald")
    assert_refused(refused, "vald", "train, valid, test")


def test_another_precision(featurize, tmp_path):
    assert featurize("text\nsome words\n").status == 0
    full = featurefile.load(tmp_path / "out.npz")
    assert featurize(None, "--precision", "bf16").status == 0
    half = featurefile.load(tmp_path / "out.npz")
    assert half.metadata["precision"] == "bf16"
    assert not np.array_equal(half.features, full.features)
    np.testing.assert_allclose(half.features, full.features, atol=2e-2)
    assert_refused(featurize(None, "--precision", "fp8"), "fp8", "fp16")


def test_one_checkpoint_of_a_run(featurize, tiny_run, tmp_path):
    step = tiny_run.workdir / "checkpoints" / "4"
    assert featurize("text\na\n", checkpoint=step).status == 0
    assert featurefile.load(tmp_path / "out.npz").metadata["step"] == 4


def test_bad_rows_are_counted_and_the_first_is_named(featurize, tmp_path):
    rows = [json.dumps({"text": f"text {i}"}).encode() for i in range(298)]
    rows[7], rows[9] = b'{"text": "caf\xe9"}', b'{"text": '
    done = featurize(b"\n".join(rows), name="in.jsonl")
    assert done.status == 0
    assert "read 298; skipped 2" in done.err
    assert f"1 non-UTF-8 bytes (first: {tmp_path / 'in.jsonl'}:8)" in done.err
    assert f"1 malformed JSON (first: {tmp_path / 'in.jsonl'}:10)" in done.err
    made = featurefile.load(tmp_path / "out.npz")
    assert len(made) == 296 and 7 not in made.ids and made.ids[-1] == 297
    assert made.metadata["skipped"] == {"non-UTF-8 bytes": 1, "malformed JSON": 1}


@pytest.mark.parametrize(
    "content, name, options, words",
    [
        (None, "in.csv", [], ["in.csv", "no such file"]),
        ("", "in.csv", [], ["in.csv", "empty"]),
        ("text\n", "in.csv", [], ["no usable text"]),
        ("text,y\n,1\n ,0\n", "in.csv", [], ["no usable text", "2 empty text", ":2"]),
        ("text\na\n", "in.csv", ["--text-key", "txt"], ["'txt'", "exist: text"]),
        ("text\na\n", "in.csv", ["--label-key", "y"], ["'y'", "exist: text"]),
        ("a,b\n1,2\n", "in.csv", [], ["exist: a, b", "--text-key"]),
        (
            "text,y\na,1\nb,\nc,good\n",
            "in.csv",
            ["--label-key", "y"],
            ["66.7%", "2 label missing or not a number", ":3"],
        ),
        ('{"text": "a"}\n{"te', "in.jsonl", [], ["50.0%", "malformed JSON", ":2"]),
        (b'{"text": "\xff"}\n', "in.jsonl", [], ["non-UTF-8", ":1"]),
        ("text\na\n", "in.tsv", [], [".tsv", ".csv"]),
        ("text\na\n", "in.csv", ["--batch-size", 0], ["--batch-size 0"]),
        ("text\na\n", "in.csv", ["--batch-size", "x"], ["--batch-size", "'x'"]),
        ("text\na\n", "in.csv", ["--output", "out.csv"], ["out.csv", ".npz"]),
        ("text\na\n", "in.csv", ["--checkpoint", "no/run"], ["no/run", "--workdir"]),
    ],
)
def test_bad_input(featurize, tmp_path, content, name, options, words):
    assert_refused(featurize(content, *options, name=name), *words)
    assert nothing_written(tmp_path)


def test_an_output_that_cannot_be_written_is_found_before_the_work(
    featurize, tmp_path, monkeypatch
):
    monkeypatch.setattr(TextFeaturizer, "transform", pytest.fail)
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" / "out.npz"
    refused = featurize("text\na\n", "--output", output)
    assert_refused(refused, str(output), "a file is in the way", status=1)


def test_a_full_disk_leaves_the_older_file(featurize, tmp_path, monkeypatch):
    assert featurize("text\na\n").status == 0
    before = (tmp_path / "out.npz").read_bytes()

    def savez(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", savez)
    refused = featurize("text\nb\n")
    assert_refused(refused, f"{tmp_path}/out.npz", "No space", "free", status=1)
    assert (tmp_path / "out.npz").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv", "out.npz"]
