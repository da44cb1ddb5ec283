"""The campaign of `kills.py`, at its smallest; in full it is run by hand."""

import os
import subprocess
import sys

import pytest
from fixtures_run import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "kind",
    [
        "training",
        "training by two processes",
        "prepare",
        "prepare on Spark",
        "featurize",
        "finetune",
    ],
)
def test_three_kills_leave_no_trace(tmp_path, kind):
    if kind == "prepare on Spark":
        pytest.importorskip("pyspark")
    script = [sys.executable, "tests/kills.py", "--folder", tmp_path, "--kind", kind]

    def run(kills):
        return subprocess.run(
            [*map(str, script), "--kills", str(kills)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=1800,
        )

    first = run(2)
    assert first.returncode == 0, first.stdout + first.stderr
    again = run(3)  # it goes on counting
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"{kind}: {{'kills': 3," in again.stdout
    assert "'differences': 0}" in again.stdout
