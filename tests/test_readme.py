"""The README's quick start works as it stands, and `make demo` runs the same one."""

import os
import re
import shlex
import shutil
import subprocess

import pytest
from documentation import ROOT, quick_start
from fixtures_run import in_a_process

# What makes each command small; nothing else is added to what the README says.
SMALLER = {
    "sdjax prepare": "--reviews 400 --shards 3/1/1",
    "sdjax labelled": "--counts 60/30/30",
    "python train.py": "--config.train_steps=6 --config.warmup_steps=2"
    " --config.model.hidden_size=8"
    " --config.model.embedding_size=4 --config.global_batch_size=8"
    " --config.window_size=16 --config.log_every_steps=2"
    " --config.checkpoint_every_steps=3 --config.keep_every_steps=3"
    " --config.eval_batch_size=32",
    "sdjax probe": "--workers 1",
}
# What starts Python once as a user does; the rest runs in this process, which costs a
# tenth. The small model is that of the other tests, whose compiled programs are found.
BY_THEMSELVES = {"sdjax labelled", "python train.py", "python featurize.py"}


def test_the_quick_start(tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    started = []
    for name in ("train.py", "featurize.py", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    commands, outputs = quick_start(), []
    assert len(commands) >= 5
    for program, *arguments in commands:
        smaller = shlex.split(SMALLER.get(f"{program} {arguments[0]}", ""))
        begin = {"python": [], "sdjax": ["-m", "sdjax.cli"]}[program]
        if f"{program} {arguments[0]}" in BY_THEMSELVES - set(started):
            started.append(f"{program} {arguments[0]}")
            done = in_a_process(*begin, *arguments, *smaller, cwd=tmp_path)
        else:
            name = arguments[0].removesuffix(".py")
            done = command.sdjax(name, *arguments[1:], *smaller)
        assert not done.status, f"{program} {arguments}: {done.err}"
        outputs.append(done.out)
    assert set(started) == BY_THEMSELVES
    assert any(re.search(r"bits per character +\d\.\d+", out) for out in outputs)
    unit = re.search(r"top unit: (\d+), sign [+-], alone", outputs[-1])[1]
    (page,) = re.findall(r"report: (\S+)", outputs[-1])
    text = (tmp_path / page).read_text()
    assert f">Unit {unit}</h2>" in text
    assert text.count("<figure ") == text.count("<svg ") == 5


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_demo_runs_the_same_commands(tmp_path):
    """In an environment whose programs only note how they were called."""
    bin_folder, log = tmp_path / "venv" / "bin", tmp_path / "log"
    bin_folder.mkdir(parents=True)
    for name in ("python", "sdjax"):
        (bin_folder / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {log}\n')
        (bin_folder / name).chmod(0o755)
    (bin_folder / ".installed").touch()
    environment = {k: v for k, v in os.environ.items() if k != "MAKEFLAGS"}
    subprocess.run(
        ["make", "--silent", "demo", f"VENV={tmp_path}/venv"],
        cwd=ROOT,
        env=environment,
        check=True,
        timeout=60,
    )
    made = [shlex.split(line) for line in log.read_text().splitlines()]
    assert made == [list(words) for words in quick_start()]
