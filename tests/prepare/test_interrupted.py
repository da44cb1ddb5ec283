"""Prepare after a failure, an interruption or a kill: what is left and what resumes."""

import errno
import os
import signal
import subprocess
import sys

import pytest
from fixtures_corpus import files, make

from sdjax.data.corpus import Corpus
from sdjax.errors import InputError
from sdjax.prepare import blocks, pipeline, shards, work_folder
from sdjax.prepare.workers import WorkerDied, Workers


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Make blocks and runs small: eight blocks and four runs of shards."""
    monkeypatch.setattr(blocks, "_EXAMPLES", 50)
    monkeypatch.setattr(shards, "_MOST_SHARDS", 2)


def fail_at(monkeypatch, module, name, number, error):
    """Make the nth call of a function fail."""
    original = getattr(module, name)
    calls = iter(range(1, 10**6))

    def wrapper(*args):
        if next(calls) == number:
            raise error
        return original(*args)

    monkeypatch.setattr(module, name, wrapper)


STAGES = [
    (pipeline, "write_segment", 1),
    (pipeline, "write_segment", 3),
    (pipeline, "write_run", 3),
    (work_folder, "sync", 2),
    (work_folder, "sync", 27),
]
STAGE_NAMES = [f"{name}-{number}" for _, name, number in STAGES]


@pytest.mark.parametrize("stage", STAGES, ids=STAGE_NAMES)
def test_a_full_disk_leaves_no_files(tmp_path, monkeypatch, stage):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        fail_at(patch, *stage, full)
        with pytest.raises(InputError, match="disk full"):
            make(tmp_path / "c")
    assert os.listdir(tmp_path) == []
    make(tmp_path / "c").verify()


@pytest.mark.parametrize("stage", STAGES, ids=STAGE_NAMES)
@pytest.mark.parametrize("split", ["shuffled", "contiguous"])
def test_an_interrupted_prepare_is_resumed(tmp_path, monkeypatch, stage, split):
    """Finished segments are not written again, and the result is the same."""
    make(tmp_path / "undisturbed", split=split)
    with monkeypatch.context() as patch:
        fail_at(patch, *stage, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "c", split=split)
    work = tmp_path / ".c.preparing"
    written = sorted(p.name for p in (work / "segments").glob("*.json"))
    calls = count_calls(monkeypatch, pipeline, "write_segment")
    make(tmp_path / "c", split=split)
    assert len(calls) == 8 - len(written)
    assert files(tmp_path / "c") == files(tmp_path / "undisturbed")
    assert not work.exists()


def count_calls(monkeypatch, module, name) -> list:
    original, calls = getattr(module, name), []

    def wrapper(*args):
        calls.append(args)
        return original(*args)

    monkeypatch.setattr(module, name, wrapper)
    return calls


def test_unfinished_work_of_another_request_is_not_resumed(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fail_at(patch, pipeline, "write_run", 2, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "c", seed=1)
    make(tmp_path / "c")
    make(tmp_path / "undisturbed")
    assert files(tmp_path / "c") == files(tmp_path / "undisturbed")


@pytest.mark.parametrize("part", ["segments/000002", "corpus/train/00001.bin"])
def test_a_file_truncated_by_a_power_cut_is_written_again(tmp_path, monkeypatch, part):
    """The marker exists, but the file is shorter than it says."""
    with monkeypatch.context() as patch:
        fail_at(patch, pipeline, "publish", 1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "c")
    path = tmp_path / ".c.preparing" / part
    path.write_bytes(path.read_bytes()[:-1])
    make(tmp_path / "c").verify()
    make(tmp_path / "undisturbed")
    assert files(tmp_path / "c") == files(tmp_path / "undisturbed")


def test_finished_work_is_kept_when_a_worker_is_killed(tmp_path, monkeypatch):
    def killed(pool, function, tasks):
        yield function(next(iter(tasks)))
        raise WorkerDied("a worker process was killed")

    with monkeypatch.context() as patch:
        patch.setattr(Workers, "map", killed)
        with pytest.raises(InputError, match="a worker process was killed"):
            make(tmp_path / "c")
    calls = count_calls(monkeypatch, pipeline, "write_segment")
    make(tmp_path / "c").verify()
    assert len(calls) == 7


SLEEPER = """
import sys, time
from sdjax.prepare import blocks, pipeline, shards, work_folder
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import Example

module, stage, folder = sys.argv[1:]
module = {"pipeline": pipeline, "work_folder": work_folder}[module]
original = getattr(module, stage)
calls = []

def stuck(*args):
    calls.append(1)
    if len(calls) == 2:
        print("stuck", flush=True)
        time.sleep(60)
    return original(*args)

setattr(module, stage, stuck)
blocks._EXAMPLES, shards._MOST_SHARDS = 50, 2
examples = (Example(f"Review number {i}.", float(i % 2), i) for i in range(400))
report = ReadReport(read=400)
source, shape = {"name": "x"}, (5, 1, 2)
pipeline.prepare(examples, folder, report=report, source=source, shards=shape)
"""


@pytest.mark.parametrize(
    ("module", "stage"),
    [("pipeline", "write_segment"), ("pipeline", "write_run"), ("work_folder", "sync")],
)
def test_kill_9_leaves_no_corpus_that_opens(tmp_path, module, stage):
    folder = tmp_path / "c"
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, module, stage, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout.readline() == b"stuck\n"
        if stage == "write_segment":
            with pytest.raises(InputError, match="another prepare is writing"):
                make(folder)
        process.send_signal(signal.SIGKILL)
    leftovers = os.listdir(tmp_path)
    assert leftovers == [".c.preparing"]
    for name in ("c", *leftovers):
        with pytest.raises(InputError):
            Corpus.open(tmp_path / name)
    make(folder).verify()
    assert os.listdir(tmp_path) == ["c"]
    make(tmp_path / "undisturbed")
    assert files(folder) == files(tmp_path / "undisturbed")


def test_what_a_kill_at_the_very_end_left_is_removed(tmp_path):
    """The corpus has its name already, the work folder is still there."""
    folder = tmp_path / "c"
    make(folder)
    wanted = files(folder)
    left = tmp_path / ".c.preparing"
    (left / "segments").mkdir(parents=True)
    (left / "segments" / "000000").write_bytes(b"x" * 99)
    make(folder)
    assert os.listdir(tmp_path) == ["c"] and files(folder) == wanted
