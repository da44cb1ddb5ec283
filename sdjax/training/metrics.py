"""Sums and counts -> bits per character; the metrics log of a run."""

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from sdjax.errors import InputError, naming
from sdjax.files import write_whole
from sdjax.terminal import show


def bits_per_character(nats: float, predicted: int) -> float:
    """Return summed nats / predicted bytes / ln 2; NaN when nothing was predicted."""
    return nats / predicted / math.log(2) if predicted else math.nan


@dataclass
class Progress:
    """Where a run is: totals since its start and sums since the last log record.

    It is saved in every checkpoint, so a resumed run logs what an undisturbed one
    would have logged, from the middle of a logging interval too.
    """

    step: int = 0  # batches consumed, which is also the position in the data
    updates: int = 0  # optimizer updates applied
    chars: int = 0  # bytes predicted
    rows_zeroed: int = 0  # rows whose carried state had to be zeroed
    interval_nats: float = 0.0
    interval_predicted: int = 0
    grad_norm: float = math.nan  # of the last step, before clipping
    finite_grad_norm: float = math.nan  # of the last step that had a finite one
    loss_scale: float = math.nan  # of the last step
    overflows: int = 0  # the last steps, all skipped at the same loss scale

    def add(self, metrics) -> None:
        """Add one step's `StepMetrics`, already on the host."""
        self.step += 1
        loss_scale = float(metrics.loss_scale)
        if metrics.skipped:
            # A scale that has just fallen may fit: they count only where it stays.
            same = loss_scale == self.loss_scale
            self.overflows = self.overflows + 1 if same else 1
        else:
            self.overflows, self.finite_grad_norm = 0, float(metrics.grad_norm)
        self.updates = int(metrics.updates)
        self.chars += int(metrics.predicted)
        self.rows_zeroed += int(metrics.rows_zeroed)
        self.interval_nats += float(metrics.nats)
        self.interval_predicted += int(metrics.predicted)
        self.grad_norm = float(metrics.grad_norm)
        self.loss_scale = loss_scale

    def take_record(self, learning_rate: Callable[[int], float]) -> dict:
        """Return the log record of the interval that ends here; start the next one.

        Args:
            learning_rate: from updates applied to the rate of the next one.
        """
        bpc = bits_per_character(self.interval_nats, self.interval_predicted)
        self.interval_nats, self.interval_predicted = 0.0, 0
        return {
            "step": self.step,
            "chars": self.chars,
            "train_bpc": bpc,
            "learning_rate": float(learning_rate(self.updates)),
            "grad_norm": self.grad_norm,
            "loss_scale": self.loss_scale,
            "skipped": self.step - self.updates,
            "rows_zeroed": self.rows_zeroed,
        }

    @property
    def stuck(self) -> bool:
        """Whether updates overflow and the loss scale does not fall."""
        return self.overflows > 1

    def check_overflows(self, most: int) -> None:
        """Give up on a run that no smaller loss scale can save.

        Args:
            most: updates in a row that may overflow at one and the same scale.

        Raises:
            InputError: that many did, and one more would not be any different.
        """
        if self.overflows < most:
            return
        raise InputError(
            f"the gradient overflowed in {self.overflows} updates in a row, steps"
            f" {self.step - self.overflows + 1} to {self.step}, at a loss scale of"
            f" {self.loss_scale:g} that falls no further; the last finite gradient"
            f" norm was {self.finite_grad_norm:.3g}. Go on from the last checkpoint"
            " with a lower config.base_learning_rate, more config.warmup_steps, or"
            " config.precision=bf16"
        )

    def as_json(self) -> dict:
        return asdict(self)


class Clock:
    """Characters per second since it was made or last asked."""

    def __init__(self, chars: int):
        self._chars, self._time = chars, time.perf_counter()

    def rate(self, chars: int) -> float:
        """Return the rate up to `chars`, counted over the whole run."""
        now = time.perf_counter()
        rate = (chars - self._chars) / (now - self._time)
        self._chars, self._time = chars, now
        return rate


class MetricsLog:
    """`metrics.jsonl` and TensorBoard event files in a run's folder.

    Records beyond `step` are removed first: a resumed run writes them again, so that
    each step stands in the log once.

    Args:
        workdir: the run's folder, which exists.
        step: the step that the run starts or resumes at.
    """

    def __init__(self, workdir: Path, step: int):
        self.path, events = workdir / "metrics.jsonl", workdir / "tensorboard"
        kept = [r for r in read_metrics(self.path) if r["step"] <= step]
        with naming(workdir):
            lines = "".join(json.dumps(r) + "\n" for r in kept)
            write_whole(self.path, lines.encode())
            self._file = self.path.open("a", encoding="utf-8")
            events.mkdir(exist_ok=True)
            # Not SummaryWriter: its thread dies of a full disk, and then the queue to
            # it fills up and training stands still.
            self._events = EventsWriter(str(events / "events"))
        if step:  # TensorBoard hides what a run wrote beyond its last checkpoint
            start = SessionLog(status=SessionLog.START)
            self._events.write_event(Event(step=step + 1, session_log=start))

    def write(self, record: dict) -> None:
        """Append one record; "step" is required, None stands for not measured.

        Raises:
            OSError: names the file; it could not be written.
        """
        clean = {k: _finite_or_none(v) for k, v in record.items()}
        scalars = [
            value
            for name, number in clean.items()
            if name != "step" and number is not None
            for value in summary.scalar(name, number).value
        ]
        event = Event(
            wall_time=time.time(), step=record["step"], summary=Summary(value=scalars)
        )
        with naming(self.path):
            self._file.write(json.dumps(clean) + "\n")
            self._file.flush()
            self._events.write_event(event)
            self._events.flush()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            with naming(self.path), self._file:
                self._events.close()
        except OSError:
            if kind is None:  # else it is what the caller already knows
                raise


def _finite_or_none(value):
    """JSON has no NaN or infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(path: Path) -> list[dict]:
    """Read `metrics.jsonl`.

    A last line that a kill cut short is left out. So is any other line that is not a
    record, but that is damage, and a warning names it on standard error.
    """
    if not path.exists():
        return []
    records, lines = [], path.read_bytes().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            record["step"] + 0  # is it a record?
            records.append(record)
        except (ValueError, TypeError, KeyError):
            if number < len(lines):
                show(
                    f"warning: {path}: line {number} is damaged and left out",
                    file=sys.stderr,
                )
    return records
