"""Two processes of two devices each, against one process of four."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import tiny
from fixtures_run import ROOT

from sdjax.checkpoints import stored
from sdjax.checkpoints.load import checkpoint_steps
from sdjax.errors import InputError
from sdjax.training import loop, multihost, peers
from sdjax.training.metrics import read_metrics

STEPS = 12

# The process that is named sends itself a signal once it has counted so many steps.
MEMBER = """
import os, signal, sys
from sdjax.cli import script
from sdjax.training.metrics import Progress

number, step = int(sys.argv.pop(1)), int(sys.argv.pop(1))
add = Progress.add

def add_and_signal(progress, metrics):
    add(progress, metrics)
    if progress.step == step and f"--process_id={number}" in sys.argv:
        os.kill(os.getpid(), signal.SIGTERM)

Progress.add = add_and_signal
script("train")
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Valid is spread over all four devices."""
    corpus = tiny.corpus(tmp_path_factory.mktemp("hosts") / "corpus")
    return tiny.config(corpus.folder, train_steps=STEPS, eval_batch_size=4)


@pytest.fixture(scope="module")
def alone(config, tmp_path_factory):
    """The run of one process with four devices."""
    workdir = tmp_path_factory.mktemp("alone")
    loop.train(config, workdir, jax.local_devices()[:4])
    return workdir


def together(config, workdir, *, signalled: int = -1, step: int = -1):
    """Train on two processes; return what became of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flat = {k: v for k, v in config.to_dict().items() if k != "model"}
    flat |= {f"model.{k}": v for k, v in config.model.to_dict().items()}
    flags = ["--config=configs/default.py", f"--workdir={workdir}", "--distributed"]
    flags += [f"--config.{k}={v}" for k, v in flat.items() if v is not None]
    flags += [f"--coordinator=127.0.0.1:{port}", "--num_processes=2"]
    device_flags = os.environ["XLA_FLAGS"].replace("count=8", "count=2")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": device_flags}
    members = [
        subprocess.Popen(
            [sys.executable, "-c", MEMBER, str(signalled), str(step), *flags]
            + [f"--process_id={number}"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    results = []
    try:
        for member in members:
            out, err = member.communicate(timeout=240)
            results.append(SimpleNamespace(status=member.returncode, out=out, err=err))
    finally:
        for member in members:
            member.kill()
    return results


def assert_same_losses(workdir, other):
    records, expected = (read_metrics(d / "metrics.jsonl") for d in (workdir, other))
    assert [r["step"] for r in records] == [r["step"] for r in expected]
    for name in ("chars", "train_bpc", "valid_bpc", "learning_rate", "grad_norm"):
        values = [[r[name] for r in log] for log in (records, expected)]
        known = [[x for x in column if x is not None] for column in values]
        np.testing.assert_allclose(*known, rtol=1e-5)


def test_two_processes_stop_together_and_one_goes_on(config, alone, tmp_path):
    """The signal goes to the second process, which writes nothing."""
    workdir = tmp_path / "run"
    first, second = together(config, workdir, signalled=1, step=5)
    assert (first.status, second.status) == (143, 143), first.err + second.err
    assert "stopped at step" in first.out and "trained" not in first.out
    assert "devices                      4 x" in first.out
    # Gloo writes to the standard output from several threads, so whole lines of its
    # own cannot be told apart: what the first process prints is looked for instead.
    assert "devices" not in second.out and "stopped at" not in second.out
    assert "ch/s" not in second.err
    *_, last = (int(path.name) for path in checkpoint_steps(workdir))
    assert 5 <= last < STEPS
    loop.train(config, workdir, jax.local_devices()[:1])
    assert_same_losses(workdir, alone)


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(config, alone, tmp_path):
    for result in together(config, tmp_path):
        assert result.status == 0, result.err
    assert_same_losses(tmp_path, alone)
    written = [path.name for path in checkpoint_steps(tmp_path)]
    assert written == [path.name for path in checkpoint_steps(alone)]


@pytest.mark.slow
def test_two_processes_with_parameters_of_their_own_have_the_losses_of_one(
    config, alone, tmp_path
):
    config = type(config)(config.to_dict() | {"master_params": "host"})
    for result in together(config, tmp_path):
        assert result.status == 0, result.err
    assert_same_losses(tmp_path, alone)


@pytest.mark.slow
def test_two_processes_go_on_from_one(config, alone, tmp_path):
    workdir = shutil.copytree(alone, tmp_path / "run")
    shutil.rmtree(workdir / "checkpoints" / "12")
    shutil.rmtree(workdir / "checkpoints" / "8")
    first, second = together(config, workdir)
    assert (first.status, second.status) == (0, 0), first.err + second.err
    assert "resumed from step 4" in first.out
    assert_same_losses(workdir, alone)


@pytest.mark.slow
def test_what_the_first_process_refuses_all_refuse(config, tmp_path):
    (tmp_path / "run").write_text("a file")
    for result in together(config, tmp_path / "run"):
        assert result.status == 2
        assert f"--workdir {tmp_path}/run is not writable" in result.err


# What one process may meet once it has counted six steps.
FAULTS = {
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "disk full": "raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'run')",
    "a bug": "raise KeyError('a bug')",
}
SAID = {"killed": "killed", "disk full": "run: No space left", "a bug": "'a bug'"}


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("fault", FAULTS)
def test_what_ends_one_process_ends_both_and_both_say_why(
    config, tmp_path, monkeypatch, fault, victim
):
    """In a minute at most, of which the silence of a killed one is 20 seconds."""
    member = MEMBER.replace("os.kill(os.getpid(), signal.SIGTERM)", FAULTS[fault])
    member = member.replace("import os,", "import errno, os,")
    monkeypatch.setitem(globals(), "MEMBER", member)
    config = type(config)(config.to_dict() | {"train_steps": 200})
    begin = time.monotonic()
    results = together(config, tmp_path / "run", signalled=victim, step=6)
    print(f"{fault} on process {victim}: {time.monotonic() - begin:.0f} s in all")
    other = results[1 - victim]
    assert other.status == 1, other.err
    (line,) = [x for x in other.err.splitlines() if x.startswith("error: ")]
    assert line.startswith(f"error: process {victim} failed: ") and SAID[fault] in line
    if fault == "killed":
        assert results[victim].status == -signal.SIGKILL
    else:
        assert results[victim].status == 1
        assert f"error: {'' if fault == 'disk full' else 'KeyError: '}" in (
            results[victim].err
        )
    for step in checkpoint_steps(tmp_path / "run"):
        assert not stored.verify(step).problems


@pytest.mark.slow
def test_the_first_process_goes_back_to_a_whole_checkpoint_for_both(
    config, alone, tmp_path
):
    workdir = shutil.copytree(alone, tmp_path / "run")
    (workdir / "checkpoints" / "12" / "meta" / "metadata").write_text("{}")
    first, second = together(config, workdir)
    assert (first.status, second.status) == (0, 0), first.err + second.err
    assert "resumed from step 8" in first.out and "12.damaged" not in first.out
    assert (workdir / "checkpoints" / "12.damaged").is_dir()
    assert_same_losses(workdir, alone)


def test_a_cluster_that_is_not_there():
    with pytest.raises(InputError, match="--coordinator HOST:PORT"):
        peers.join()


def test_the_coordinator_needs_the_flag(tmp_path):
    done = subprocess.run(
        [sys.executable, "train.py", "--config=configs/quickstart.py"]
        + [f"--workdir={tmp_path}", "--num_processes=2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "go together with --distributed" in done.stderr


def test_one_process_has_all_rows():
    assert multihost.own_rows(12) == range(12)
    assert multihost.is_first() and multihost.from_first(lambda: {"a": 1}) == {"a": 1}
    assert signal.SIGTERM == 15
