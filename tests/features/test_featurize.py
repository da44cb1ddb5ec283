"""featurize.py: any labelled file in, its features out in order; bad input refused."""

import json
import zipfile

import numpy as np
import pytest
from fixtures_run import COUNTS, assert_refused

from sdjax.data.corpus import Corpus
from sdjax.features import bulk
from sdjax.features import file as feature_file
from sdjax.features.featurizer import TextFeaturizer


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
    made = feature_file.load(tiny_run.features["valid"])
    lines = tiny_run.texts["valid"].read_text().splitlines()[1:]
    assert len(made) == len(lines) == COUNTS["valid"]
    assert [f"{int(label)}" for label in made.labels] == [line[0] for line in lines]
    assert all(t.split()[-1] in x for t, x in zip(made.texts, lines, strict=True))
    assert made.ids.tolist() == list(range(len(lines)))
    featurizer = TextFeaturizer.from_pretrained(tiny_run.workdir)
    np.testing.assert_array_equal(made.features, featurizer.transform(made.texts))


def test_the_metadata_says_where_features_come_from(tiny_run):
    made = feature_file.load(tiny_run.features["test"]).metadata
    steps = {str(p) for p in (tiny_run.workdir / "checkpoints").iterdir()}
    assert made["checkpoint"] in steps
    assert made["checkpoint"].endswith(f"/{made['step']}")
    assert made["input"] == tiny_run.texts["test"].name
    assert len(made["params_sha256"]) == 64 and made["units"] == 8
    keys = ("state", "pooling", "precision", "label_keys", "skipped")
    assert {k: made[k] for k in keys} == {
        "state": "cell",
        "pooling": "last",
        "precision": "fp32",
        "label_keys": ["label"],
        "skipped": {},
    }
    assert made["normalisation"] == {"strip_tags": False}


def test_json_lines_without_labels(featurize, tmp_path):
    lines = "".join(json.dumps({"text": t, "n": 1}) + "\n" for t in ("a", "b\nc"))
    done = featurize(lines, name="in.jsonl")
    assert done.status == 0 and "2 texts x 8 features" in done.out
    made = feature_file.load(tmp_path / "out.npz")
    assert made.labels is None and made.texts == ["a", "b\nc"]


def test_a_split_of_a_corpus_with_its_labels(tiny_run, tmp_path, command):
    output = tmp_path / "new" / "folder" / "out.npz"
    arguments = ["--checkpoint", tiny_run.workdir, "--input", tiny_run.corpus]
    arguments += ["--output", output, "--batch-size", 16]
    done = command.featurize(*arguments, "--split", "valid")
    assert done.status == 0, done.err
    made = feature_file.load(output)
    examples = list(Corpus.open(tiny_run.corpus).examples("valid"))
    assert made.texts == [e.text for e in examples]
    assert made.labels.tolist() == [e.label for e in examples]
    assert_refused(command.featurize(*arguments), "not given", "train, valid, test")
    refused = command.featurize(*arguments, "--split", "vald")
    assert_refused(refused, "vald", "train, valid, test")
    refused = command.featurize(*arguments, "--split", "valid", "--no-header")
    assert_refused(refused, "--no-header: a corpus is read as it was prepared")


def test_another_precision(featurize, tmp_path):
    assert featurize("text\nsome words\n").status == 0
    full = feature_file.load(tmp_path / "out.npz")
    assert featurize(None, "--precision", "bf16").status == 0
    half = feature_file.load(tmp_path / "out.npz")
    assert half.metadata["precision"] == "bf16"
    assert not np.array_equal(half.features, full.features)
    np.testing.assert_allclose(half.features, full.features, atol=2e-2)
    assert_refused(featurize(None, "--precision", "fp8"), "fp8", "fp16")


def test_one_checkpoint_of_a_run(featurize, tiny_run, tmp_path):
    step = tiny_run.workdir / "checkpoints" / "4"
    assert featurize("text\na\n", checkpoint=step).status == 0
    assert feature_file.load(tmp_path / "out.npz").metadata["step"] == 4


def test_bad_rows_are_counted_and_the_first_is_named(featurize, tmp_path):
    rows = [json.dumps({"text": f"text {i}"}).encode() for i in range(298)]
    rows[7], rows[9] = b'{"text": "caf\xe9"}', b'{"text": '
    done = featurize(b"\n".join(rows), name="in.jsonl")
    assert done.status == 0
    assert "read 298; skipped 2" in done.err
    assert (
        f"1 non-UTF-8 bytes (first: {tmp_path / 'in.jsonl'}:8: byte 14 of" in done.err
    )
    assert f"1 malformed JSON (first: {tmp_path / 'in.jsonl'}:10)" in done.err
    made = feature_file.load(tmp_path / "out.npz")
    assert len(made) == 296 and 7 not in made.ids and made.ids[-1] == 297
    assert made.metadata["skipped"] == {"non-UTF-8 bytes": 1, "malformed JSON": 1}


MANY = "id,text,good,long\n" + "".join(
    f"r{i},{'text ' * (i % 5)}number {i},{i % 2},{i % 3}\n" for i in range(50)
)


@pytest.mark.parametrize("suffix", ["npz", "npy", "parquet"])
def test_ids_several_labels_and_pooled_hidden_states(
    featurize, tiny_run, tmp_path, suffix
):
    output = tmp_path / f"out.{suffix}"
    options = ["--id-key", "id", "--label-key", "good", "long", "--output", output]
    options += ["--state", "hidden", "--pooling", "mean", "last"]
    done = featurize(MANY, *options)
    assert done.status == 0 and "50 texts x 16 features" in done.out, done.err
    made = feature_file.load(output)
    assert list(made.given_ids) == [f"r{i}" for i in range(50)]
    assert made.labels.tolist() == [[i % 2, i % 3] for i in range(50)]
    assert made.metadata["label_keys"] == ["good", "long"]
    assert made.metadata["pooling"] == ["mean", "last"]
    featurizer = TextFeaturizer(
        tiny_run.workdir, state="hidden", pooling=made.metadata["pooling"]
    )
    np.testing.assert_array_equal(made.features, featurizer.transform(made.texts))
    assert sorted(p.name for p in tmp_path.glob("*partial*")) == []


@pytest.fixture
def stopped(featurize, tmp_path, monkeypatch):
    """Blocks of 8 texts; a run that is killed, as far as files go, in its fourth."""
    monkeypatch.setattr(bulk, "BLOCK_TEXTS", 8)
    transform_bytes = TextFeaturizer.transform_bytes
    blocks = []

    def stop(self, encoded, advance):
        blocks.append(len(encoded))
        if len(blocks) == 4:
            raise KeyboardInterrupt
        return transform_bytes(self, encoded, advance)

    with monkeypatch.context() as patch:
        patch.setattr(TextFeaturizer, "transform_bytes", stop)
        assert featurize(MANY, "--id-key", "id").status == 130
    assert blocks == [8] * 4
    assert [p.name for p in tmp_path.glob("out*")] == ["out.npz.partial"]
    return tmp_path / "out.npz.partial"


def test_a_stopped_run_goes_on_and_gives_the_same(featurize, stopped, tmp_path):
    # What a kill in the middle of a block leaves behind.
    for name in ("features.npy", "text_bytes.npy"):
        with open(stopped / name, "ab") as file:
            file.write(b"torn")
    done = featurize(MANY, "--id-key", "id", "--batch-size", 64)
    assert done.status == 0 and "24 texts are done" in done.err
    assert "read 50; skipped 0" in done.err and not stopped.exists()
    resumed = feature_file.load(tmp_path / "out.npz")
    assert featurize(MANY, "--id-key", "id").status == 0
    whole = feature_file.load(tmp_path / "out.npz")
    np.testing.assert_array_equal(resumed.features, whole.features)
    assert resumed.texts == whole.texts and resumed.ids.tolist() == list(range(50))
    assert resumed.given_ids == whole.given_ids
    assert resumed.metadata == whole.metadata


@pytest.mark.parametrize(
    "content, options, words",
    [
        (MANY, ["--precision", "bf16"], ["precision", "'fp32' there", "'bf16' here"]),
        (MANY, ["--pooling", "max"], ["pooling", "'last' there", "'max' here"]),
        (MANY, ["--state", "hidden"], ["state", "'cell' there"]),
        (MANY, ["--label-key", "good"], ["label_key", "None there", "'good' here"]),
        (MANY.replace("r7", "R7"), [], ["ends_sha256"]),
    ],
)
def test_a_stopped_run_does_not_go_on_as_something_else(
    featurize, stopped, tmp_path, content, options, words
):
    options = ["--id-key", "id", *options]
    refused = featurize(content, *options)
    assert_refused(refused, "out.npz.partial holds part of", *words, "--restart")
    assert featurize(content, *options, "--restart").status == 0
    assert len(feature_file.load(tmp_path / "out.npz")) == 50
    assert not stopped.exists()


@pytest.mark.parametrize(
    "name, content",
    [("progress.json", b"{"), ("progress.json", b"[]"), ("ids.npy", b"short")],
)
def test_a_damaged_stopped_run_is_refused(featurize, stopped, name, content):
    (stopped / name).write_bytes(content)
    assert_refused(featurize(MANY, "--id-key", "id"), "damaged", "--restart")


def test_rows_that_cannot_be_used_do_not_stop_the_others(featurize, tmp_path):
    content = "text,y\na,1\n,0\nb,\nc,good\nd,2\n"
    done = featurize(content, "--label-key", "y")
    assert_refused(done, "60.0%", "2 label missing", "1 empty text", ":3")
    assert f"{tmp_path / 'out.npz'}: 2 texts x 8 features" in done.out
    made = feature_file.load(tmp_path / "out.npz")
    assert made.texts == ["a", "d"] and made.ids.tolist() == [0, 4]
    allowed = featurize(content, "--label-key", "y", "--max-bad-fraction", 0.6)
    assert allowed.status == 0


def test_features_that_are_not_finite_are_refused(featurize, tmp_path, monkeypatch):
    def broken(self, encoded, advance):
        features = np.zeros((len(encoded), 8), np.float32)
        features[1, 3] = np.inf
        return features

    monkeypatch.setattr(TextFeaturizer, "transform_bytes", broken)
    refused = featurize("text\na\n \nb\n")
    assert_refused(refused, "row 2 of the input", "not finite", "diverge")
    assert nothing_written(tmp_path)


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
        ("text,y\nb,\n", "in.csv", ["--label-key", "y"], ["1 label missing", ":2"]),
        ("text,i\na,\n", "in.csv", ["--id-key", "i"], ["1 id missing", ":2"]),
        ("text\na\n", "in.csv", ["--id-key", "i"], ["'i'", "exist: text"]),
        (b'{"text": "\xff"}\n', "in.jsonl", [], ["non-UTF-8", ":1"]),
        ("<a>\n</a>\n", "in.xml", [], ["in.xml", "markup"]),
        ("text\na\n", "in.csv", ["--batch-size", 0], ["--batch-size", "'0'"]),
        ("text\na\n", "in.csv", ["--pooling", "sum"], ["--pooling", "'sum'"]),
        ("text\na\n", "in.csv", ["--pooling", "max", "max"], ["pooling", "different"]),
        ("text\na\n", "in.csv", ["--state", "gate"], ["--state", "'gate'"]),
        ("text\na\n", "in.csv", ["--batch-size", "x"], ["--batch-size", "'x'"]),
        ("text\na\n", "in.csv", ["--output", "out.csv"], ["out.csv", ".npy"]),
        (
            "text\na\n",
            "in.csv",
            ["--checkpoint", "no/such/run"],
            ["no/such/run", "--workdir"],
        ),
    ],
)
def test_bad_input(featurize, tmp_path, content, name, options, words):
    assert_refused(featurize(content, *options, name=name), *words)
    assert nothing_written(tmp_path)


def test_an_output_that_cannot_be_written_is_found_before_the_work(
    featurize, tmp_path, monkeypatch
):
    monkeypatch.setattr(TextFeaturizer, "from_pretrained", pytest.fail)
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" / "out.npz"
    refused = featurize("text\na\n", "--output", output)
    assert_refused(refused, str(output), "a file is in the way", status=1)


def test_a_full_disk_leaves_the_older_file(featurize, tmp_path, monkeypatch):
    assert featurize("text\na\n").status == 0
    before = (tmp_path / "out.npz").read_bytes()

    def write(archive, *names):
        archive.writestr("half", b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "write", write)
        refused = featurize("text\nb\n")
    assert_refused(refused, f"{tmp_path}/out.npz", "No space", "free", status=1)
    assert (tmp_path / "out.npz").read_bytes() == before
    names = ["in.csv", "out.npz", "out.npz.partial"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert "1 texts are done" in featurize("text\nb\n").err
    assert feature_file.load(tmp_path / "out.npz").texts == ["b"]
