"""train.py as users run it against the bare step: what the loop around it costs."""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax

from benchmarks.interleave import interleave, ratio, spread
from benchmarks.train import Shape, sdjax_step

ROOT = Path(__file__).parents[1]


class Row(NamedTuple):
    """`ratio` is the rate of train.py over the bare step's, quartiles beside it."""

    variant: str
    hidden_size: int
    batch_size: int
    window_size: int
    precision: str
    chars_per_second: float
    ratio: float | None
    ratio_quartiles: tuple[float, float] | None


def measure(
    corpus: Path, shape: Shape, precision: str, steps: int, rounds: int
) -> list[Row]:
    """Run the bare step and train.py in turn, each in its own time.

    train.py reads the corpus, logs ten times, shows its bar, and saves one checkpoint
    at the end. Its rate is its own record's, from the second record on: the first one
    has the compilation in it.

    Args:
        corpus: folder of a corpus.
        shape: of the step, on each device; the bare step runs on one.
        precision: of both.
        steps: of train.py in a round; the bare step takes as many.
        rounds: of each.
    """
    bare_step = sdjax_step(shape, precision).call
    bare, whole = [], []
    for _ in range(rounds):
        seconds = interleave({"bare step": bare_step}, steps)["bare step"]
        bare.append(shape.characters / statistics.median(seconds))
        whole.append(_train(corpus, shape, precision, steps))
    middle, low, high = ratio(whole, bare)
    sizes = {**shape._asdict(), "precision": precision}
    return [
        Row("bare step", **sizes, chars_per_second=spread(bare)[0], ratio=None,
            ratio_quartiles=None),
        Row("train.py", **sizes, chars_per_second=spread(whole)[0], ratio=middle,
            ratio_quartiles=(low, high)),
    ]  # fmt: skip


def _train(corpus: Path, shape: Shape, precision: str, steps: int) -> float:
    """Return the median characters per second and device that train.py records."""
    with tempfile.TemporaryDirectory() as workdir:
        settings = {
            "corpus": corpus.resolve(),
            "model.hidden_size": shape.hidden_size,
            "global_batch_size": shape.batch_size * jax.local_device_count(),
            "window_size": shape.window_size,
            "precision": precision,
            "train_steps": steps,
            "log_every_steps": max(1, steps // 10),
            "checkpoint_every_steps": steps,
        }
        subprocess.run(
            [sys.executable, "train.py", "--config", "configs/default.py"]
            + ["--workdir", workdir]
            + [f"--config.{key}={value}" for key, value in settings.items()],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        lines = (Path(workdir) / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    rate = statistics.median(r["chars_per_second"] for r in records[1:])
    return rate / jax.local_device_count()
