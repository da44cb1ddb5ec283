"""A full disk during training: a one-line error, and the last checkpoint stays good."""

import contextlib
import resource
import shutil
import time

import pytest
import tiny
from fixtures_run import assert_refused

from sdjax.checkpoints import manager
from sdjax.checkpoints.load import checkpoint_steps, load_model
from sdjax.checkpoints.manager import Checkpoints
from sdjax.training.metrics import MetricsLog, read_metrics


@contextlib.contextmanager
def file_limit():
    """Yield a function that limits the size of files, to simulate a full disk.

    The limit ends with the block, because it applies to the files of pytest too.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_checkpoint_that_fails_while_training_goes_on(
    tiny_run, tmp_path, command, monkeypatch
):
    """Orbax writes in the background and reports an error only at the next save."""
    workdir = shutil.copytree(tiny_run.workdir, tmp_path / "run")
    steps = [int(step.name) for step in checkpoint_steps(workdir)]
    config = tiny.config(tiny_run.corpus, train_steps=steps[-1] + 8)
    save = Checkpoints.save

    with file_limit() as limit:

        def limit_and_save(self, *arguments):
            limit(6000)
            save(self, *arguments)

        monkeypatch.setattr(Checkpoints, "save", limit_and_save)
        done = command.train(config, workdir)
    folder = workdir / "checkpoints"
    assert_refused(done, f"{folder}: File too large", "write elsewhere", status=1)
    left = checkpoint_steps(workdir)
    assert left and {int(step.name) for step in left} <= set(steps)
    assert int(left[-1].name) == steps[-1]
    state = tiny.train_state(tiny.model(), initial=65536.0)
    carry = tiny.on_devices(tiny.carry(8), 8)
    with Checkpoints(folder, keep_last=3) as checkpoints:
        assert checkpoints.latest == steps[-1]
        restored, _ = checkpoints.restore(steps[-1], state, carry)
    assert restored.step == steps[-1]
    assert load_model(left[-1]).meta.step == steps[-1]


def test_a_failed_write_is_reported_before_the_next_save(tmp_path):
    state, carry = tiny.train_state(tiny.model()), tiny.on_devices(tiny.carry(8), 8)
    with Checkpoints(tmp_path / "checkpoints", keep_last=1) as checkpoints:
        checkpoints.check()
        with file_limit() as limit, pytest.raises(OSError, match="too large"):
            limit(3000)
            checkpoints.save(state, carry, tiny.meta())
            for _ in range(200):
                checkpoints.check()
                time.sleep(0.1)
    assert not checkpoint_steps(tmp_path)


def test_a_checkpoint_too_large_for_the_disk_is_not_started(tmp_path, monkeypatch):
    nearly_full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(manager.shutil, "disk_usage", lambda _: nearly_full)
    state = tiny.train_state(tiny.model())
    carry = tiny.on_devices(tiny.carry(8), 8)
    with Checkpoints(tmp_path / "checkpoints", keep_last=1) as checkpoints:
        with pytest.raises(
            OSError, match="a checkpoint takes .* the disk has"
        ) as error:
            checkpoints.save(state, carry, tiny.meta())
    assert error.value.filename == str(tmp_path / "checkpoints")
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_metrics_log_that_cannot_grow_fails_once(tmp_path):
    """The error is raised by the write, and not again when the log is closed."""
    path = tmp_path / "metrics.jsonl"
    with file_limit() as limit, pytest.raises(OSError, match="too large") as error:
        with MetricsLog(tmp_path, 0) as log:
            log.write({"step": 1, "train_bpc": 2.0})
            limit(path.stat().st_size + 10)
            log.write({"step": 2, "train_bpc": 2.0})
    assert error.value.filename == str(path)
    assert read_metrics(path) == [{"step": 1, "train_bpc": 2.0}]
    with MetricsLog(tmp_path, 1) as log:
        log.write({"step": 2, "train_bpc": 3.0})
    assert [record["step"] for record in read_metrics(path)] == [1, 2]


def test_tensorboard_files_that_cannot_grow_do_not_hang_training(tmp_path):
    """Events are written at once; a background thread's queue would fill up."""
    with file_limit() as limit, pytest.raises(OSError, match="too large"):
        with MetricsLog(tmp_path, 0) as log:
            (events,) = (tmp_path / "tensorboard").iterdir()
            log.write({"step": 1, "x": 1.0})
            limit(events.stat().st_size + 5)
            for step in range(2, 40):
                log.write({"step": step, **{f"x{i}": 1.0 for i in range(9)}})
