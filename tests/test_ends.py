"""How a command ends where nobody reads on, and where memory does not suffice."""

import subprocess
import sys

import pytest
from fixtures_run import ROOT, assert_refused

PRINTER = """
import sys
from sdjax import errors, terminal
sys.exit(errors.run(lambda: [terminal.show("a line") for _ in range(100_000)] and 0))
"""


def test_a_reader_that_goes_is_no_error():
    writer = subprocess.Popen(
        [sys.executable, "-c", PRINTER],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout.readline() == "a line\n"
    writer.stdout.close()
    with writer.stderr as stream:
        assert stream.read() == ""
    assert writer.wait(timeout=60) == 141


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 8 TiB"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating 8 TiB"),
    ],
    ids=["NumPy", "jax"],
)
def test_too_little_memory_is_one_line(command, error):
    def fails():
        raise error

    assert_refused(command(fails), "memory does not suffice", "8 TiB", status=1)


def test_a_bug_keeps_its_traceback(command):
    def fails():
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        command(fails)
