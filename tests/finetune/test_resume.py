"""Fine-tuning that is interrupted goes on, and ends as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from fixtures_run import ROOT, assert_refused

from sdjax.checkpoints.load import checkpoint_steps, fingerprint, load_model
from sdjax.finetune import unfinished
from sdjax.training.process import StopSignal

FAST = ("--epochs", 2, "--batch-size", 16, "--max-bytes", 16, "--learning-rate", 0.01)


def arguments(run, out, *more):
    files = [x for split, path in run.texts.items() for x in (f"--{split}", path)]
    return (
        "finetune",
        run.workdir,
        *files,
        "--label-key",
        "label",
        "--out",
        out,
        *more,
    )


def assert_same(found, wanted) -> None:
    """Bit for bit: the model, the classifier, and every figure."""
    assert [p.name for p in checkpoint_steps(found)][-1:] == [
        p.name for p in checkpoint_steps(wanted)
    ][-1:]
    assert fingerprint(load_model(found).params) == fingerprint(
        load_model(wanted).params
    )
    names = sorted(p.name for p in (wanted / "classifier").iterdir())
    assert names == sorted(p.name for p in (found / "classifier").iterdir())
    for name in names:
        pair = [
            (folder / "classifier" / name).read_bytes() for folder in (found, wanted)
        ]
        assert pair[0] == pair[1], name
    assert not (found / unfinished.NAME).exists()


@pytest.fixture(scope="module")
def whole(tiny_run, tmp_path_factory):
    """What comes of it where nothing interrupts it."""
    out = tmp_path_factory.mktemp("whole") / "tuned"
    from sdjax import cli

    with pytest.MonkeyPatch.context() as patch:
        given = [*arguments(tiny_run, out, *FAST), "--save-every", 2]
        patch.setattr(sys, "argv", ["sdjax", *map(str, given)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert not ended.value.code
    return out


@pytest.mark.parametrize("after", [1, 2, 3, 5])
def test_a_stopped_run_goes_on(tiny_run, whole, command, tmp_path, monkeypatch, after):
    class Stops(StopSignal):
        """Ctrl-C after so many questions whether to stop."""

        asked = 0

        @property
        def requested(self):
            type(self).asked += 1
            return 2 if type(self).asked > after else 0

    given = arguments(tiny_run, tmp_path / "out", *FAST, "--save-every", 2)
    with monkeypatch.context() as patch:
        patch.setattr("sdjax.training.process.StopSignal", Stops)
        stopped = command.sdjax(*given)
    assert stopped.status == 130 and "the same command goes on" in stopped.out
    assert (tmp_path / "out" / unfinished.NAME).is_dir()
    done = command.sdjax(*given)
    assert done.status == 0, done.err
    assert "head alone" not in done.out  # which was done before
    assert_same(tmp_path / "out", whole)


KILLED = """
import os, signal, sys
from sdjax import cli
from sdjax.finetune.loop import _Run
real, taken = _Run.update, []
def update(self, *rest):
    taken.append(rest)
    if len(taken) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *rest)
_Run.update = update
cli.main()
"""


def test_a_killed_run_goes_on(tiny_run, whole, command, tmp_path):
    given = arguments(tiny_run, tmp_path / "out", *FAST, "--save-every", 2)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, given)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    resumed = command.sdjax(*given)
    assert resumed.status == 0, resumed.err
    assert_same(tmp_path / "out", whole)


def test_it_does_not_go_on_as_something_else(tiny_run, command, tmp_path, monkeypatch):
    class Stops(StopSignal):
        requested = 2

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("sdjax.training.process.StopSignal", Stops)
        assert command.sdjax(*arguments(tiny_run, out, *FAST)).status == 130
    other = command.sdjax(*arguments(tiny_run, out, *FAST, "--seed", 3))
    assert_refused(other, "something else", "seed is 0 there and 3 here")
    changed = tmp_path / "train.csv"
    changed.write_text(tiny_run.texts["train"].read_text().replace("good", "bad", 1))
    run = type("Run", (), {"workdir": tiny_run.workdir})
    run.texts = tiny_run.texts | {"train": changed}
    if changed.read_text() != tiny_run.texts["train"].read_text():
        assert_refused(command.sdjax(*arguments(run, out, *FAST)), "train_xxh3")


def test_positions_are_exact_in_json():
    from sdjax.finetune.position import Position, Saved
    from sdjax.finetune.step import Standard

    values = np.random.default_rng(0).normal(size=9).astype(np.float32)
    position = Position(2, 3, 9, 1, 0.1 + 0.2, 8, 1e300 / 3, 77)
    saved = Saved(position, Standard(values, values**2), {"score": 0.1 + 0.2})
    again = Saved.from_json(json.loads(json.dumps(saved.as_json())))
    assert again.position == position and again.best == saved.best
    np.testing.assert_array_equal(again.standard.mean, values)
    np.testing.assert_array_equal(again.standard.scale, values**2)
