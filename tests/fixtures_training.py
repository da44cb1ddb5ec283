"""What tests of whole runs share: their logs, their end, the devices they see."""

import os
import signal

from sdjax.checkpoints.manager import Checkpoints
from sdjax.model.devices import zero_carry
from sdjax.training.config.model import with_model
from sdjax.training.metrics import Progress, read_metrics
from sdjax.training.run import build_training, initial_state


def log(workdir) -> list[dict]:
    """Return the metrics log without the one key that depends on the clock."""
    records = read_metrics(workdir / "metrics.jsonl")
    return [{k: v for k, v in r.items() if k != "chars_per_second"} for r in records]


def last_saved(config, workdir):
    """Return the newest checkpoint whole: step, train state, carry."""
    config = with_model(config, "bytes")
    training = build_training(config, 1000)
    state = initial_state(config, training)
    carry = zero_carry(training.model, config.global_batch_size, 1)
    with Checkpoints(workdir / "checkpoints", keep_last=9) as checkpoints:
        step = checkpoints.latest
        return step, *checkpoints.restore(step, state, carry)


def signal_at(monkeypatch, step: int, number=signal.SIGTERM):
    """Send this process a signal when the run counts `step`, from outside its code."""
    add = Progress.add

    def add_and_signal(progress, metrics):
        add(progress, metrics)
        if progress.step == step:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Progress, "add", add_and_signal)
