"""Training runs: the same on any number of devices, and across any interruption."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from fixtures_training import last_saved, log, signal_at

import sdjax.training.evaluate
import sdjax.training.parallel
from sdjax.checkpoints.load import checkpoint_steps, load_model
from sdjax.errors import InputError
from sdjax.training import loop
from sdjax.training.config.model import with_model
from sdjax.training.metrics import read_metrics

ROOT = Path(__file__).parents[2]
STEPS, DEVICES = 12, 8


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tiny.corpus(tmp_path_factory.mktemp("train") / "corpus")


@pytest.fixture(scope="module")
def config(corpus):
    # Valid is read by one device whatever the number: compiled once for all runs.
    return tiny.config(corpus.folder, train_steps=STEPS, eval_batch_size=1)


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory):
    """A run from start to end on all forced host devices."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    loop.train(config, workdir)
    return workdir


def assert_same_run(config, workdir, other):
    """Bit for bit: the log, and all of the last checkpoint."""
    assert log(workdir) == log(other)
    step, state, carry = last_saved(config, workdir)
    other_step, other_state, other_carry = last_saved(config, other)
    assert step == other_step == STEPS
    tiny.assert_trees_equal(jax.tree.leaves(state), jax.tree.leaves(other_state))
    tiny.assert_trees_equal(carry, other_carry)


def command(config_file: str, workdir, *changes: str) -> list[str]:
    flags = [f"--config={config_file}", f"--workdir={workdir}"]
    return [sys.executable, "train.py", *flags, *changes]


def as_flags(config) -> list[str]:
    groups = {k for k, v in config.to_dict().items() if isinstance(v, dict)}
    flat = {k: v for k, v in config.to_dict().items() if k not in groups}
    for group in groups:
        flat |= {f"{group}.{k}": v for k, v in config[group].to_dict().items()}
    return [f"--config.{k}={v}" for k, v in flat.items() if v is not None]


def test_a_run_learns_logs_and_saves(config, undisturbed, corpus):
    records = read_metrics(undisturbed / "metrics.jsonl")
    assert [r["step"] for r in records] == [2, 4, 6, 8, 10, 12]
    assert set(records[0]) >= {
        "step",
        "chars",
        "train_bpc",
        "valid_bpc",
        "learning_rate",
        "grad_norm",
        "loss_scale",
        "skipped",
        "chars_per_second",
    }
    # Valid is measured where a checkpoint is saved, and nowhere else.
    assert [r["step"] for r in records if r["valid_bpc"] is not None] == [4, 8, 12]
    assert records[-1]["valid_bpc"] < records[1]["valid_bpc"] < 8
    assert records[-1]["learning_rate"] == 0
    assert [r["skipped"] for r in records] == [0] * 6
    assert records[-1]["chars"] == STEPS * 8 * 16
    assert [int(p.name) for p in checkpoint_steps(undisturbed)] == [4, 8, 12]
    meta = load_model(undisturbed).meta
    wanted = with_model(config, "bytes").to_dict()
    # An absolute path would mean nothing where the run is moved to.
    assert not os.path.isabs(meta.config["corpus"])
    assert meta.config == wanted | {"corpus": meta.config["corpus"]}
    assert meta.corpus == corpus.fingerprint


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_the_losses_do_not_depend_on_the_number_of_devices(
    config, undisturbed, tmp_path, devices, tolerances
):
    """Against the 8 devices of the undisturbed run, at the same global batch."""
    loop.train(config, tmp_path, jax.local_devices()[:devices])
    assert_close_logs(log(tmp_path), log(undisturbed), tolerances)


def assert_close_logs(records, expected, tolerances):
    for name in ("step", "chars", "skipped"):
        assert [r[name] for r in records] == [r[name] for r in expected]
    for name in ("train_bpc", "learning_rate", "grad_norm"):
        np.testing.assert_allclose(
            [r[name] for r in records],
            [r[name] for r in expected],
            **tolerances["float32"],
        )


def test_a_run_that_was_killed_goes_on_bit_for_bit(config, undisturbed, tmp_path):
    """Kill -9 once the checkpoint of step 4 is there, then the same command again."""
    workdir = tmp_path / "run"
    killed = f"""
import os, signal, sys, time
from pathlib import Path
from sdjax.cli import script
from sdjax.training.metrics import Progress
add = Progress.add

def add_and_die(progress, metrics):
    add(progress, metrics)
    if progress.step == 7:
        while not Path({str(workdir / "checkpoints" / "4")!r}).exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)

Progress.add = add_and_die
script("train")
"""
    arguments = command("configs/default.py", workdir, *as_flags(config))
    script = [sys.executable, "-c", killed, *arguments[2:]]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [int(p.name) for p in checkpoint_steps(workdir)] == [4]
    assert [r["step"] for r in log(workdir)] == [2, 4, 6]
    done = subprocess.run(
        arguments, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert f"resumed from step 4 of {STEPS}" in done.stdout
    assert_same_run(config, workdir, undisturbed)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_run_asked_to_stop_saves_mid_interval_and_goes_on_bit_for_bit(
    config, undisturbed, tmp_path, monkeypatch, capsys, number, status
):
    with monkeypatch.context() as patch:
        signal_at(patch, 6, number)
        with pytest.raises(SystemExit) as stopped:
            loop.train(config, tmp_path)
    assert stopped.value.code == status
    assert "stopped at step 7 of 12" in capsys.readouterr().out
    assert [int(p.name) for p in checkpoint_steps(tmp_path)] == [4, 7]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    loop.train(config, tmp_path)
    assert "resumed from step 7" in capsys.readouterr().out
    assert_same_run(config, tmp_path, undisturbed)


def test_a_run_goes_on_with_another_number_of_devices(
    config, undisturbed, tmp_path, monkeypatch, tolerances
):
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        signal_at(patch, 6)
        loop.train(config, tmp_path)
    loop.train(config, tmp_path, jax.local_devices()[:2])
    assert_close_logs(log(tmp_path), log(undisturbed), tolerances)


def test_a_run_whose_newest_checkpoint_is_damaged_goes_back_and_says_so(
    config, undisturbed, tmp_path, capsys
):
    workdir = shutil.copytree(undisturbed, tmp_path / "run")
    newest = workdir / "checkpoints" / "12" / "meta" / "metadata"
    newest.write_bytes(newest.read_bytes()[:50])
    capsys.readouterr()
    loop.train(config, workdir)
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("resumed from step 8 of 12; checkpoint ")
    assert f"{newest} is not JSON" in first
    assert (workdir / "checkpoints" / "12.damaged").is_dir()
    assert_same_run(config, workdir, undisturbed)


def test_a_run_resumes_from_the_step_that_is_asked_for(config, undisturbed, tmp_path):
    workdir = shutil.copytree(undisturbed, tmp_path / "run")
    loop.train(config, workdir, from_step=4)
    assert (workdir / "checkpoints" / "8.newer").is_dir()
    assert_same_run(config, workdir, undisturbed)
    with pytest.raises(InputError, match="--step 3: .* has no checkpoint"):
        loop.train(config, tmp_path / "new", from_step=3)


def test_a_damaged_shard_is_not_trained_on(config, tmp_path):
    corpus = tiny.corpus(tmp_path / "corpus")
    shard = corpus.shards["train"][0].path
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    other = type(config)(config.to_dict() | {"corpus": str(corpus.folder)})
    other.train_steps = 40  # past the end of the first shard that is read
    with pytest.raises(InputError, match=f"{shard}: damaged"):
        loop.train(other, tmp_path / "run")


def test_a_finished_run_started_again_changes_nothing(config, tmp_path, undisturbed):
    before = log(undisturbed)
    loop.train(config, undisturbed)
    assert log(undisturbed) == before


def test_each_step_function_is_traced_once(config, tmp_path, monkeypatch):
    traces = {"train_step": 0, "eval_step": 0}

    def count(module, name):
        step = getattr(module, name)

        def counted(*args, **settings):
            traces[name] += 1
            return step(*args, **settings)

        monkeypatch.setattr(module, name, counted)

    count(sdjax.training.parallel, "train_step")
    count(sdjax.training.evaluate, "eval_step")
    loop.train(config, tmp_path)
    assert traces == {"train_step": 1, "eval_step": 1}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"hidden_size": 16}}, "model.hidden_size is 8 there and 16 here"),
        ({"window_size": 8}, "stream.window_size is 16 there and 8 here"),
    ],
    ids=["hidden_size", "window_size"],
)
def test_the_folder_of_another_run_is_refused(
    corpus, config, undisturbed, changes, words
):
    before = log(undisturbed)
    other = tiny.config(corpus.folder, **({"eval_batch_size": 1} | changes))
    with pytest.raises(InputError, match=words):
        loop.train(other, undisturbed)
    assert log(undisturbed) == before


def test_another_corpus_is_refused(undisturbed, tmp_path):
    other = tiny.corpus(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="corpus.fingerprint"):
        loop.train(tiny.config(other.folder, eval_batch_size=1), undisturbed)


def test_the_metrics_log_is_json_without_nan(undisturbed):
    for line in (undisturbed / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
