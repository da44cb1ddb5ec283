"""A tiny run from reviews to features, and how the tests call the commands."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny

from sdjax import cli, errors
from sdjax.prepare import synthetic
from sdjax.training import loop

ROOT = Path(__file__).parents[1]
COUNTS = {"train": 60, "valid": 30, "test": 30}


def make_run(folder: Path) -> SimpleNamespace:
    """Prepare, train, write labelled texts and their features; all below `folder`."""
    corpus = tiny.corpus(folder / "corpus")
    config = tiny.config(corpus.folder)
    workdir = folder / "run"
    loop.train(config, workdir)
    texts = synthetic.write_labelled(folder / "labelled", tuple(COUNTS.values()), 0)
    run = SimpleNamespace(
        corpus=corpus.folder, config=config, workdir=workdir, texts=texts, features={}
    )
    with pytest.MonkeyPatch.context() as patch:
        for split, path in texts.items():
            run.features[split] = folder / f"{split}.npz"
            arguments = featurize_arguments(run, path, run.features[split])
            patch.setattr(sys, "argv", ["featurize.py", *map(str, arguments)])
            cli.run("featurize")
    return run


def featurize_arguments(run, texts: Path, output: Path) -> list:
    """The command line of featurize.py for labelled texts."""
    return [
        *("--checkpoint", run.workdir, "--input", texts, "--output", output),
        *("--text-key", "sentence", "--label-key", "label", "--batch-size", 16),
    ]


class Command:
    """Runs a command's main function in this process."""

    def __init__(self, monkeypatch, capsys):
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, main, *arguments) -> SimpleNamespace:
        """Return its exit status, `out` and `err`."""
        self._monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        self._capsys.readouterr()
        try:
            status = errors.run(main)
        except SystemExit as stop:
            status = stop.code
        out, err = self._capsys.readouterr()
        return SimpleNamespace(status=status, out=out, err=err)

    def sdjax(self, *arguments) -> SimpleNamespace:
        return self(cli.main, *arguments)

    def featurize(self, *arguments) -> SimpleNamespace:
        return self(lambda: cli.run("featurize"), *arguments)

    def train(self, config, workdir) -> SimpleNamespace:
        return self(lambda: loop.train(config, workdir))


def assert_refused(result, *words: str, status: int = 2) -> None:
    """One line on standard error, after any progress, that has all the words."""
    lines = result.err.replace("\r", "\n").strip().splitlines()
    assert "Traceback" not in result.err
    assert [line.startswith("error: ") for line in lines].count(True) == 1
    assert lines[-1].startswith("error: "), result.err
    for word in words:
        assert word in lines[-1]
    assert result.status == status


def in_a_process(*command, cwd=ROOT, **environment) -> SimpleNamespace:
    """Run `python *command` as a user does, on one device."""
    flags = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": flags,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    return SimpleNamespace(status=done.returncode, out=done.stdout, err=done.stderr)
