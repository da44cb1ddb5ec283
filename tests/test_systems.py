"""What only Linux has, has another way: tested by taking it away."""

import ast
import ctypes
import importlib
import sys
from pathlib import Path

import pytest

import sdjax
from sdjax import locks
from sdjax.prepare.workers import cores
from sdjax.training import process

PACKAGE = Path(sdjax.__file__).parent
# Names that macOS, or another C library, does not have, and who asks for them.
LINUX_ONLY = {
    "sched_getaffinity": {"prepare/workers.py"},
    "sched_setaffinity": set(),
    "mallopt": {"training/process.py"},
    "prctl": set(),
    "memfd_create": set(),
    "eventfd": set(),
    "posix_fadvise": set(),
    "sendfile": set(),
    "SIGPWR": set(),
}


def test_nobody_else_asks_for_what_only_linux_has():
    found = {name: set() for name in LINUX_ONLY}
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and node.attr in found:
                found[node.attr].add(path.relative_to(PACKAGE).as_posix())
            strings = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if strings and node.value in found:
                found[node.value].add(path.relative_to(PACKAGE).as_posix())
            assert not (strings and node.value.startswith("/proc")), path
    assert found == LINUX_ONLY


def test_cores_where_the_system_does_not_say_which(monkeypatch):
    assert cores() >= 1
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert cores() == 6
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert cores() == 1


def test_prepare_starts_there(monkeypatch, command, tmp_path):
    monkeypatch.delattr("os.sched_getaffinity")
    rows = "".join(f'{{"text": "number {i}"}}\n' for i in range(60))
    (tmp_path / "in.jsonl").write_text(rows)
    out = ("--out", tmp_path / "corpus", "--shards", "1/1/1")
    done = command.sdjax("prepare", tmp_path / "in.jsonl", *out)
    assert done.status == 0, done.err


def test_another_c_library_keeps_its_own_memory(monkeypatch):
    class Library:
        pass

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    process.keep_freed_memory()


def test_without_file_locks_there_is_a_note(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    without = importlib.reload(locks)
    try:
        with without.locked(tmp_path / "lock", "in use"):
            assert (tmp_path / "lock").exists()
        assert not (tmp_path / "lock").exists()
        assert "has no file locks" in capsys.readouterr().err
    finally:
        monkeypatch.undo()
        importlib.reload(locks)
    assert locks.fcntl is not None


def test_the_readme_says_which_systems_were_tried():
    readme = (PACKAGE.parent / "README.md").read_text()
    if not readme:
        pytest.skip("not a checkout")
    assert "macOS is only meant to work, not tried" in readme
