"""How fast a corpus is prepared, against merely parsing every line with orjson.

    python benchmarks/prepare.py                    # 1 and 4 million reviews
    python benchmarks/prepare.py --reviews 100000   # a tenth of that

The input is JSON lines as the Amazon reviews of 2014 have them; a text is two reviews
of the synthetic corpus, and a quarter of the lines repeat another one's text. Each
measurement is a process of its own, and they are taken in turns.
"""

import argparse
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

from sdjax import synthetic

COPIES = 0.25  # of the lines
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


def measure(*command: str) -> Cost:
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
    options = ["--label-key", "overall", "--workers", str(workers), "--out", str(out)]
    return measure("-m", "sdjax.cli", "prepare", str(source), *options)


def run(
    reviews: int = 10**6, repeats: int = 3, folder: str | None = None
) -> list[dict]:
    """Measure; return one row for each thing measured, the medians of the repeats.

    Args:
        reviews: of the smaller input; the larger has four times as many.
        repeats: of every measurement, in turns.
        folder: for the inputs and the corpora; about 9 GB for a million reviews.
    """
    rows = []
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        source = Path(temporary) / "reviews.jsonl"
        for count, all_workers in ((reviews, (1, 2)), (4 * reviews, (1,))):
            write_reviews(source, count)
            costs = {}
            for turn in range(repeats):
                parsing = measure("-c", _PARSE, str(source))
                costs.setdefault("orjson, every line", []).append(parsing)
                for workers in all_workers:
                    name = f"prepare, workers {workers}"
                    # Not deleted in between: ext4 makes files slowly for minutes then.
                    out = Path(temporary) / f"corpus-{count}-{workers}-{turn}"
                    costs.setdefault(name, []).append(prepare(source, out, workers))
            size = source.stat().st_size
            rows += [_row(name, count, size, found) for name, found in costs.items()]
    return rows


def _row(name: str, reviews: int, size: int, costs: Sequence[Cost]) -> dict:
    wall, cpu, _ = (statistics.median(values) for values in zip(*costs, strict=True))
    return {
        "what": name,
        "reviews": reviews,
        "input MB": size / 1e6,
        "wall s": wall,
        "CPU s": cpu,
        "peak MB": max(cost.megabytes for cost in costs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reviews", type=int, default=10**6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", help="where there is room for the files")
    rows = run(**vars(parser.parse_args()))
    print("| " + " | ".join(rows[0]) + " |")
    print("|---" * len(rows[0]) + "|")
    for row in rows:
        cells = (f"{v:,.1f}" if isinstance(v, float) else str(v) for v in row.values())
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
