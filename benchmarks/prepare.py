"""How fast a corpus is prepared, against merely parsing every line with orjson.

The input is JSON lines as the Amazon reviews of 2014 have them; a text is two reviews
of the synthetic corpus, and a quarter of the lines repeat another one's text. Each
measurement is a process of its own, and they are taken in turns.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sdjax.prepare import synthetic

COPIES = 0.25  # of the lines
SHARDS = "1000/1/1"
_POOL = 60_000  # synthetic reviews to join, and lines to repeat

_PARSE = """
import sys, orjson
with open(sys.argv[1], "rb") as file:
    for line in file:
        orjson.loads(line)
"""


class Cost(NamedTuple):
    """What a process took: seconds of the clock, of processors, and most memory."""

    wall: float
    cpu: float
    megabytes: float


def write_reviews(path: Path, count: int, seed: int = 0) -> None:
    """Write `count` JSON lines of about 560 bytes."""
    draw = random.Random(seed)
    pool = [e.text for e in synthetic.reviews(_POOL, seed)]
    earlier = []
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            if earlier and draw.random() < COPIES:
                text = draw.choice(earlier)
            else:
                text = " ".join(draw.choices(pool, k=2))
                if len(earlier) < _POOL:
                    earlier.append(text)
                else:
                    earlier[draw.randrange(_POOL)] = text
            file.write(json.dumps(_record(draw, text)) + "\n")


def _record(draw: random.Random, text: str) -> dict:
    """All that a line of the Amazon reviews of 2014 has."""
    month, day = draw.randint(1, 12), draw.randint(1, 28)
    return {
        "reviewerID": f"A{draw.randrange(10**12):012d}",
        "asin": f"{draw.randrange(10**10):010d}",
        "reviewerName": f"Reader {draw.randrange(10**6)}",
        "helpful": [draw.randint(0, 9), draw.randint(9, 20)],
        "reviewText": text,
        "overall": float(draw.randint(1, 5)),
        "summary": text[:30],
        "unixReviewTime": draw.randrange(10**9, 14 * 10**8),
        "reviewTime": f"{month:02d} {day}, 2013",
    }


def cost(*command: str) -> Cost:
    """Run a command and say what it took, its children included."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def prepare(source: Path, out: Path, workers: int) -> Cost:
    """Prepare a corpus."""
    options = ["--label-key", "overall", "--workers", str(workers), "--shards", SHARDS]
    return cost("-m", "sdjax.cli", "prepare", str(source), *options, "--out", str(out))


class Row(NamedTuple):
    """What something took: medians of the repeats, of memory the most.

    The memory is the largest process's, in units of 2^20 bytes; the input in 10^6.
    """

    variant: str
    reviews: int
    input_megabytes: float
    wall_seconds: float
    cpu_seconds: float
    peak_megabytes: float


def measure(reviews: int, repeats: int, folder: Path | None = None) -> list[Row]:
    """Measure parsing and preparing, once and at four times the size.

    Args:
        reviews: of the smaller input; the larger has four times as many.
        repeats: of every measurement, in turns.
        folder: for the inputs and the corpora; about 9 GB for a million reviews.
    """
    rows = []
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        source = Path(temporary) / "reviews.jsonl"
        for count in (reviews, 4 * reviews):
            write_reviews(source, count)
            costs = {}
            for turn in range(repeats):
                parsing = cost("-c", _PARSE, str(source))
                costs.setdefault("orjson, every line", []).append(parsing)
                for workers in (1, 2):
                    name = f"prepare, workers {workers}"
                    # Not deleted in between: ext4 makes files slowly for minutes then.
                    out = Path(temporary) / f"corpus-{count}-{workers}-{turn}"
                    costs.setdefault(name, []).append(prepare(source, out, workers))
            size = source.stat().st_size
            rows += [_row(name, count, size, found) for name, found in costs.items()]
    return rows


def _row(name: str, reviews: int, size: int, costs: Sequence[Cost]) -> Row:
    wall, cpu, _ = (statistics.median(values) for values in zip(*costs, strict=True))
    most = max(cost.megabytes for cost in costs)
    return Row(name, reviews, size / 1e6, wall, cpu, most)
