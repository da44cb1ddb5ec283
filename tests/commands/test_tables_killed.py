"""A campaign of kills: a table that is begun again until it is whole."""

import csv
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from fixtures_run import ROOT

KILLS = 12
ROWS = 6000
SMALL = "import sdjax.features.tables as t; t.CHUNK_ROWS = 32; from sdjax import cli"


@pytest.mark.slow
def test_kills_at_any_moment_lose_no_row_and_double_none(tiny_run, tmp_path):
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    with source.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text"])
        rows.writerows([n, f"text {n} " * (n % 4)] for n in range(ROWS))
    arguments = ["classify", tiny_run.workdir, "--unit", "3"]
    arguments += ["--input", source, "--output", output]
    script = [sys.executable, "-c", f"{SMALL}; cli.main()", *map(str, arguments)]
    parts, draws, killed = tmp_path / "out.csv.parts", random.Random(0), 0
    while killed < KILLS and not output.exists():
        before = len(list(parts.glob("part-*")))
        process = subprocess.Popen(
            script, cwd=ROOT, env=os.environ, stderr=subprocess.DEVNULL
        )
        # The moment is drawn after the first part of this run, so that it goes on.
        while process.poll() is None and len(list(parts.glob("part-*"))) <= before:
            time.sleep(0.005)
        time.sleep(draws.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed >= 3
    done = subprocess.run(
        script, cwd=ROOT, env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with output.open(newline="") as file:
        ids = [int(row["id"]) for row in csv.DictReader(file)]
    missing, twice = set(range(ROWS)) - set(ids), len(ids) - len(set(ids))
    print(f"{killed} kills: {len(missing)} rows missing, {twice} twice")
    assert ids == list(range(ROWS)) and not parts.exists()
