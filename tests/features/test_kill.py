"""Killed in the middle, featurize goes on, and gives the same file."""

import os
import signal
import subprocess
import sys

from fixtures_run import ROOT

KILLED = """
import os, signal
from sdjax import cli
from sdjax.features import bulk
from sdjax.features.partial import FeatureWork
bulk.BLOCK_TEXTS = 8
real, blocks = FeatureWork.append, []
def append(self, *block):
    blocks.append(block)
    if len(blocks) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *block)
FeatureWork.append = append
cli.main()
"""


def test_kill_9_and_on(tiny_run, command, tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("".join(f"a line with the number {i}\n" for i in range(40)))

    def given(output):
        files = ("--input", path, "--output", output)
        return ("featurize", "--checkpoint", tiny_run.workdir, *files)

    arguments = map(str, given(tmp_path / "out.npy"))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    resumed = command.sdjax(*given(tmp_path / "out.npy"))
    assert resumed.status == 0 and "16 texts are done already" in resumed.err
    assert command.sdjax(*given(tmp_path / "all.npy")).status == 0
    for name in (".npy", ".ids.npy", ".text_bytes.npy", ".text_offsets.npy", ".json"):
        found, wanted = (tmp_path / f"{stem}{name}" for stem in ("out", "all"))
        assert found.read_bytes() == wanted.read_bytes(), name
