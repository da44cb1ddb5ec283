"""A disk that fills up while training: one line, and the last checkpoint still good."""

import json
import resource
import shutil

import pytest
import tiny
from fixtures_run import assert_refused

from sdjax import checkpoint
from sdjax.checkpoint import Checkpoints, checkpoint_steps, load_model
from sdjax.metrics import MetricsLog


@pytest.fixture
def limit_files():
    """Make the system refuse files beyond some bytes, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_checkpoint_that_fails_while_training_goes_on(
    tiny_run, tmp_path, command, monkeypatch, limit_files
):
    """Orbax writes in the background and says so at the next save."""
    workdir = shutil.copytree(tiny_run.workdir, tmp_path / "run")
    steps = [int(step.name) for step in checkpoint_steps(workdir)]
    config = tiny.config(tiny_run.corpus, train_steps=steps[-1] + 8)
    save = Checkpoints.save

    def save_and_limit(self, *arguments):
        limit_files(6000)
        save(self, *arguments)

    monkeypatch.setattr(Checkpoints, "save", save_and_limit)
    done = command.train(config, workdir)
    limit_files(resource.RLIM_INFINITY)
    folder = workdir / "checkpoints"
    assert_refused(done, f"{folder}: File too large", "write elsewhere", status=1)
    left = checkpoint_steps(workdir)
    assert left and {int(step.name) for step in left} <= set(steps)
    assert int(left[-1].name) == steps[-1]
    state = tiny.train_state(tiny.model(), initial_loss_scale=65536.0)
    carry = tiny.on_devices(tiny.carry(8), 8)
    with Checkpoints(folder, keep_last=3) as checkpoints:
        assert checkpoints.latest == steps[-1]
        restored, _ = checkpoints.restore(steps[-1], state, carry)
    assert restored.step == steps[-1]
    assert load_model(left[-1]).meta["step"] == steps[-1]


def test_a_checkpoint_that_the_disk_has_no_room_for_is_not_begun(tmp_path, monkeypatch):
    nearly_full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: nearly_full)
    state = tiny.train_state(tiny.model())
    carry = tiny.on_devices(tiny.carry(8), 8)
    with Checkpoints(tmp_path / "checkpoints", keep_last=1) as checkpoints:
        with pytest.raises(
            OSError, match="a checkpoint takes .* the disk has"
        ) as error:
            checkpoints.save(state, carry, {"step": 1}, None)
    assert error.value.filename == str(tmp_path / "checkpoints")
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_metrics_log_that_cannot_grow_is_named_once(tmp_path, limit_files):
    """Raised from the line that wrote, not again when the log is closed."""
    with pytest.raises(OSError, match="File too large") as error:
        with MetricsLog(tmp_path, 0) as log:
            log.write({"step": 1, "train_bpc": 2.0})
            limit_files((tmp_path / "metrics.jsonl").stat().st_size + 10)
            log.write({"step": 2, "train_bpc": 2.0})
    limit_files(resource.RLIM_INFINITY)
    assert error.value.filename == str(tmp_path / "metrics.jsonl")
    first, *rest = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(first) == {"step": 1, "train_bpc": 2.0}
    with MetricsLog(tmp_path, 1) as log:
        log.write({"step": 2, "train_bpc": 3.0})
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_tensorboard_file_that_cannot_grow_does_not_stand_still(
    tmp_path, limit_files
):
    """The events are written before the next record, not by a thread that may die."""
    with pytest.raises(OSError, match="File too large"):
        with MetricsLog(tmp_path, 0) as log:
            (events,) = (tmp_path / "tensorboard").iterdir()
            log.write({"step": 1, "x": 1.0})
            limit_files(events.stat().st_size + 5)
            for step in range(2, 40):
                log.write({"step": step, **{f"x{i}": 1.0 for i in range(9)}})
