"""One writer at a time, and nothing that a killed one leaves stands in the way."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest
import tiny
from fixtures_run import ROOT, assert_refused, featurize_arguments

from sdjax.errors import InputError
from sdjax.locks import locked

HOLD = """
import sys
from pathlib import Path
from sdjax.locks import locked
with locked(Path(sys.argv[1]), "held"):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold():
    """Start processes that hold a lock."""
    started = []

    def start(path):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout.readline() == b"locked\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_lock_keeps_others_out_and_leaves_nothing(tmp_path, hold):
    path = tmp_path / "lock"
    holder = hold(path)
    with pytest.raises(InputError, match="in use"), locked(path, "in use"):
        pass
    holder.communicate(b"")
    assert not path.exists()
    with locked(path, "in use"), pytest.raises(InputError), locked(path, "in use"):
        pass
    assert not path.exists()


def test_a_killed_process_leaves_no_lock(tmp_path, hold):
    path = tmp_path / "lock"
    holder = hold(path)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert path.exists()
    with locked(path, "in use"):
        pass


def test_a_file_system_without_locks_gives_a_note(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "lock", "in use"):
        pass
    assert f"note: {tmp_path} has no file locks" in capsys.readouterr().err


def test_a_second_training_is_refused_in_one_line(tiny_run, tmp_path, command, hold):
    workdir = tmp_path / "run"
    workdir.mkdir()
    hold(workdir / ".lock")
    refused = command.train(tiny.config(tiny_run.corpus), workdir)
    assert_refused(refused, f"--workdir {workdir} is in use")
    assert not (workdir / "checkpoints").exists()


def test_a_second_featurize_is_refused_in_one_line(tiny_run, tmp_path, command, hold):
    output = tmp_path / "x.npz"
    hold(tmp_path / ".x.npz.lock")
    arguments = featurize_arguments(tiny_run, tiny_run.texts["train"], output)
    assert_refused(command.featurize(*arguments), f"--output {output} is in use")


def test_a_second_finetune_is_refused_in_one_line(tiny_run, tmp_path, command, hold):
    out = tmp_path / "tuned"
    out.mkdir()
    hold(out / ".lock")
    texts = [x for split, path in tiny_run.texts.items() for x in (f"--{split}", path)]
    done = command.sdjax(
        *("finetune", tiny_run.workdir, *texts, "--label-key", "label"),
        *("--text-key", "sentence", "--out", out),
    )
    assert_refused(done, f"--out {out} is in use")
