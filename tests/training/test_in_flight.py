"""Two CPU devices on one core: what is dispatched ahead must not stand in its own way.

A collective holds a thread of the pool that all CPU devices share until the other
device has reached it. With 64 windows dispatched ahead `sdjax evaluate` stood still
here in 4 runs of 4, until XLA ended it after a minute with status 134.
"""

import os
import subprocess
import sys

import pytest
import tiny
from fixtures_run import ROOT

from sdjax.training import loop

RUNS = 4
ON_ONE_CORE = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from sdjax.cli import main
sys.argv[0] = "sdjax"
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_evaluating_on_two_devices_and_one_core_never_hangs(tmp_path):
    corpus = tiny.corpus(tmp_path / "corpus", reviews=600)
    config = tiny.config(corpus.folder, model={"hidden_size": 16}, window_size=32)
    loop.train(config, tmp_path / "run")
    flags = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=2")
    flags = flags.replace(
        "terminate_timeout_seconds=600", "terminate_timeout_seconds=60"
    )
    hangs, outputs = 0, set()
    for _ in range(RUNS):
        command = [sys.executable, "-c", ON_ONE_CORE, "evaluate", tmp_path / "run"]
        command += ["--corpus", corpus.folder, "--batch-size", "8"]
        try:
            done = subprocess.run(
                [*map(str, command)],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags},
                capture_output=True,
                text=True,
                timeout=240,
            )
        except subprocess.TimeoutExpired:
            hangs += 1
            continue
        hangs += done.returncode == -6
        assert done.returncode in (0, -6), done.stderr
        outputs.add(done.stdout)
    print(f"{RUNS} runs, {hangs} hangs")
    assert hangs == 0 and len(outputs) == 1
