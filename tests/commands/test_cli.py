"""The `sdjax` command: subcommands end to end, and one-line errors for bad input."""

import re
import shutil
from pathlib import Path

import pytest
from fixtures_run import assert_refused, in_a_process

from sdjax import files
from sdjax.data import corpus
from sdjax.data.corpus import Corpus
from sdjax.training.evaluate import evaluator
from sdjax.training.metrics import read_metrics

NO_SPACE = OSError(28, "No space left on device")


def raise_no_space(*args, **kwargs):
    raise NO_SPACE


@pytest.fixture
def below_a_file(tmp_path):
    """Return a path that nobody can create, not even root."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "folder"


# -- the command itself


def test_the_command_itself(tmp_path):
    """Run it in a process as users do; preparing data must not import jax."""
    arguments = ["-m", "sdjax.cli", "labelled", "--counts", "2/1/1", "--out"]
    done = in_a_process("-X", "importtime", *arguments, tmp_path)
    assert done.status == 0, done.err
    modules = re.findall(r"\| +([\w.]+)$", done.err, re.MULTILINE)
    assert "sdjax.prepare.synthetic" in modules
    assert not {"jax", "sklearn", "matplotlib"} & set(modules)
    refused = in_a_process("-m", "sdjax.cli", "prepare", "none.csv", "--out", "x")
    assert_refused(refused, "none.csv", "no such file")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], ["COMMAND", "--help"]),
        (["prepair"], ["prepair", "prepare"]),
        (["prepare", "synthetic"], ["--out", "sdjax prepare --help"]),
        (["prepare", "synthetic", "--out", "x", "--shards", "9"], ["'9'", "1000/1/1"]),
        (["prepare", "synthetic", "--out", "x", "--seed", "s"], ["--seed", "'s'"]),
        (["labelled", "--out", "x", "--counts", "1/2/c"], ["'1/2/c'"]),
        (["evaluate", "run", "--corpus", "c", "--split", "vald"], ["vald", "valid"]),
        (["probe", "--train", "a.npz"], ["--valid", "--test", "--out"]),
    ],
)
def test_bad_flags(command, arguments, words):
    assert_refused(command.sdjax(*arguments), *words)


# -- labelled


def test_labelled(tmp_path, command):
    done = command.sdjax("labelled", "--out", tmp_path / "a", "--counts", "6/4/2")
    assert done.status == 0
    paths = done.out.split()
    assert paths == [str(tmp_path / "a" / f"{s}.csv") for s in corpus.SPLITS]
    assert [len(Path(path).read_text().splitlines()) for path in paths] == [7, 5, 3]


def test_labelled_where_nothing_can_be_written(
    command, below_a_file, tmp_path, monkeypatch
):
    refused = command.sdjax("labelled", "--counts", "6/4/0", "--out", tmp_path)
    assert_refused(refused, "--counts", "'6/4/0'")
    arguments = ["labelled", "--counts", "6/4/2", "--out"]
    refused = command.sdjax(*arguments, below_a_file)
    assert_refused(refused, str(below_a_file), "another path", status=1)
    monkeypatch.setattr(files.os, "fsync", raise_no_space)
    refused = command.sdjax(*arguments, tmp_path / "a")
    assert_refused(refused, str(tmp_path / "a"), "No space", "free", status=1)
    assert not list((tmp_path / "a").iterdir())


# -- evaluate


def evaluate(command, tiny_run, *options, checkpoint=None, folder=None):
    checkpoint, folder = checkpoint or tiny_run.workdir, folder or tiny_run.corpus
    return command.sdjax("evaluate", checkpoint, "--corpus", folder, *options)


def bits(done) -> float:
    return float(re.search(r"bits per character +(\S+)", done.out)[1])


def test_evaluate_agrees_with_the_training_log(command, tiny_run):
    done = evaluate(command, tiny_run)
    assert done.status == 0, done.err
    measured = {
        record["step"]: record["valid_bpc"]
        for record in read_metrics(tiny_run.workdir / "metrics.jsonl")
        if record["valid_bpc"] is not None
    }
    best = min(measured, key=measured.get)
    assert f"checkpoint           {tiny_run.workdir}/checkpoints/{best}\n" in done.out
    assert bits(done) == round(measured[best], 4)
    (shard,) = Corpus.open(tiny_run.corpus).shards["valid"]
    assert f"bytes predicted      {shard.bytes - 1:,} of valid\n" in done.out


def test_evaluate_another_split_beside_compressors(command, tiny_run):
    done = evaluate(command, tiny_run, "--split", "test", "--compressors")
    assert done.status == 0
    names = [line[:8] for line in done.out.splitlines()[-3:]]
    assert names == ["gzip -9 ", "bzip2 -9", "xz -9   "]


def test_evaluate_with_fewer_rows_and_another_precision(command, tiny_run, monkeypatch):
    """The result is near, and the model really computed in half precision."""
    usual = bits(evaluate(command, tiny_run, "--batch-size", 8))
    used = []

    def noted(model, windows, rows):
        used.append((model.precision, rows))
        return evaluator(model, windows, rows)

    monkeypatch.setattr("sdjax.training.evaluate.evaluator", noted)
    half = bits(evaluate(command, tiny_run, "--batch-size", 8, "--precision", "bf16"))
    assert half == pytest.approx(usual, abs=0.02)
    assert used == [("bf16", 8)]


def test_evaluate_warns_of_another_normalisation(command, tiny_run, tmp_path):
    source = tmp_path / "a.txt"
    source.write_text("".join(f"good number {i} of many\n" for i in range(200)))
    out = tmp_path / "corpus"
    command.sdjax("prepare", source, "--out", out, "--shards", "1/1/1", "--strip-tags")
    done = evaluate(command, tiny_run, "--batch-size", 8, folder=out)
    assert done.status == 0 and "warning: the corpus was normalised with" in done.err


@pytest.mark.parametrize(
    "options, words",
    [
        (["--batch-size", 0], ["--batch-size", "'0'"]),
        (["--batch-size", 10**6], ["1000000 rows", "valid shard", "smaller batch"]),
        (["--precision", "fp8"], ["fp8", "fp16"]),
    ],
)
def test_evaluate_bad_options(command, tiny_run, options, words):
    assert_refused(evaluate(command, tiny_run, *options), *words)


def test_evaluate_without_checkpoint_or_corpus(command, tiny_run, tmp_path):
    refused = evaluate(command, tiny_run, checkpoint=tmp_path)
    assert_refused(refused, f"no checkpoint in {tmp_path}", "--workdir")
    refused = evaluate(command, tiny_run, folder=tmp_path)
    assert_refused(refused, str(tmp_path), "no manifest.json", "sdjax prepare")


@pytest.mark.parametrize("how", ["truncated", "changed", "missing"])
def test_evaluate_on_a_damaged_shard(command, tiny_run, tmp_path, how):
    folder = tmp_path / "corpus"
    shutil.copytree(tiny_run.corpus, folder)
    shard = folder / "valid" / "00000.bin"
    data = shard.read_bytes()
    shard.unlink()
    if how == "truncated":
        shard.write_bytes(data[:-1])
    elif how == "changed":
        shard.write_bytes(b"?" + data[1:])
    refused = evaluate(command, tiny_run, folder=folder)
    assert_refused(refused, str(shard), "damaged", "prepare it again")
