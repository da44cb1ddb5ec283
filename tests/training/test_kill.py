"""Killed at twenty moments drawn at random: nothing in the result tells of it."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny
from fixtures_corpus import files
from fixtures_run import ROOT

from sdjax.data.corpus import Corpus
from sdjax.errors import InputError
from sdjax.prepare import synthetic
from sdjax.training.metrics import read_metrics

pytestmark = pytest.mark.slow
KILLS = 20

# Small blocks and runs of shards, so that there is much to be killed between.
PREPARE = """
import sys
from sdjax import cli
from sdjax.data.formats import lines
from sdjax.prepare import blocks, shards
lines.CHUNK_BYTES = blocks.BLOCK_BYTES = 100_000
shards._MOST_SHARDS = 4
cli.main()
"""


def run_and_kill(command: list[str], seconds: float, environment: dict) -> bool:
    """Start a command in a group of its own and kill it; tell whether it was done."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, errors = process.communicate(timeout=seconds)
        assert process.returncode == 0, errors.decode()
        return True
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        return False


@pytest.mark.parametrize("workers", [1, 2])
def test_prepare_killed_at_random(tmp_path, workers):
    source = tmp_path / "a.jsonl"
    with source.open("w") as file:
        for example in synthetic.reviews(30_000, 0):
            file.write(json.dumps({"text": example.text}) + "\n")
    command = [sys.executable, "-c", PREPARE, "prepare", str(source)]
    command += ["--shards", "100/5/5", "--workers", str(workers), "--out"]
    begin = time.monotonic()
    assert run_and_kill([*command, str(tmp_path / "undisturbed")], 600, {})
    whole = time.monotonic() - begin
    expected = files(tmp_path / "undisturbed")
    draw, out = random.Random(workers), tmp_path / "corpus"
    finished = 0
    for _ in range(KILLS):
        done = run_and_kill([*command, str(out)], draw.uniform(0.2, 1) * whole, {})
        if done:
            finished += 1
            assert files(out) == expected
            shutil.rmtree(out)
            continue
        for name in ("corpus", ".corpus.preparing", ".corpus.preparing/corpus"):
            try:
                corpus = Corpus.open(tmp_path / name)
            except InputError:
                continue
            corpus.verify()  # what opens is whole
    assert run_and_kill([*command, str(out)], 600, {})
    assert files(out) == expected
    assert finished < KILLS


def test_training_killed_at_random(tmp_path):
    """On two forced devices; the losses of every step are logged and compared."""
    corpus = tiny.corpus(tmp_path / "corpus", reviews=600)
    steps = 160
    config = tiny.config(
        corpus.folder,
        train_steps=steps,
        log_every_steps=1,
        checkpoint_every_steps=20,
        eval_batch_size=64,
    )
    flat = {k: v for k, v in config.to_dict().items() if k != "model"}
    flat |= {f"model.{k}": v for k, v in config.model.to_dict().items()}
    settings = [f"--config.{key}={value}" for key, value in flat.items()]

    def command(workdir):
        flags = ["--config=configs/default.py", f"--workdir={workdir}", *settings]
        return [sys.executable, "train.py", *flags]

    environment = {
        "XLA_FLAGS": os.environ["XLA_FLAGS"].replace("count=8", "count=2"),
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    assert run_and_kill(command(tmp_path / "first"), 600, environment)
    begin = time.monotonic()
    assert run_and_kill(command(tmp_path / "undisturbed"), 600, environment)
    whole = time.monotonic() - begin
    draw, workdir, kills = random.Random(0), tmp_path / "run", 0
    while kills < KILLS:
        seconds = draw.uniform(0.3, 1) * whole
        if run_and_kill(command(workdir), seconds, environment):
            assert_same_losses(workdir, tmp_path / "undisturbed")
            shutil.rmtree(workdir)
        else:
            kills += 1
    assert run_and_kill(command(workdir), 600, environment)
    assert_same_losses(workdir, tmp_path / "undisturbed")


def assert_same_losses(workdir, other):
    records, expected = (read_metrics(d / "metrics.jsonl") for d in (workdir, other))
    for name in ("step", "train_bpc", "grad_norm", "valid_bpc"):
        np.testing.assert_array_equal(
            np.array([r[name] for r in records], float),
            np.array([r[name] for r in expected], float),
        )
