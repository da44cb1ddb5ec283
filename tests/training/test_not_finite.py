"""Parameters that are not finite end a run, and are refused wherever they are read."""

import json
import shutil

import jax
import numpy as np
import pytest
import tiny
from fixtures_run import assert_refused

from sdjax.checkpoints import load as load_module
from sdjax.checkpoints import manager, stored
from sdjax.errors import InputError
from sdjax.model.devices import zero_carry
from sdjax.ranges import Range
from sdjax.training import loop
from sdjax.training.config import checks
from sdjax.training.metrics import read_metrics


def test_a_run_that_diverges_fails_and_saves_nothing_of_it(
    tiny_run, tmp_path, monkeypatch
):
    # What `check` refuses: Adam divides 0 by 0 from the second update on.
    monkeypatch.setitem(checks._RANGES, "adam_b1", Range(0, 1))
    config = tiny.config(tiny_run.corpus, adam_b1=1.0)
    with pytest.raises(InputError, match="not finite after step 2: training diverged"):
        loop.train(config, tmp_path / "run")
    assert not stored.checkpoint_steps(tmp_path / "run")
    assert [r["step"] for r in read_metrics(tmp_path / "run" / "metrics.jsonl")] == []


@pytest.fixture(scope="module")
def broken(tmp_path_factory, tiny_run):
    """A run whose newest checkpoint has one parameter that is not a number."""
    run = tmp_path_factory.mktemp("broken") / "run"
    shutil.copytree(tiny_run.workdir, run)
    steps = stored.checkpoint_steps(run)
    for step in steps[:-1]:
        shutil.rmtree(step)
    loaded = load_module.load_model(steps[-1])
    params = jax.tree.map(np.array, loaded.params)
    params["recurrent"]["wh"][1, 2] = np.nan
    shutil.rmtree(steps[-1])
    state = tiny.train_state(loaded.model).replace(params=params)
    with manager.Checkpoints(run / "checkpoints", keep_last=9) as checkpoints:
        checkpoints.save(state, zero_carry(loaded.model, 8, 1), loaded.meta)
    return run


def test_what_is_not_finite_is_refused_by_all_that_load_it(
    broken, tiny_run, command, tmp_path
):
    said = "1 of 256 values of the array recurrent.wh are not finite"
    texts, out = tiny_run.texts["train"], tmp_path / "out.npz"
    commands = [
        ("evaluate", broken, "--corpus", tiny_run.corpus),
        ("generate", broken, "--samples", 1, "--length", 5),
        ("featurize", "--checkpoint", broken, "--input", texts, "--output", out),
        ("convert", broken, "--to", "safetensors", "--out", tmp_path / "published"),
        *[
            ("finetune", broken, "--label-key", "label", "--out", tmp_path / "tuned")
            + tuple(x for s, t in tiny_run.texts.items() for x in (f"--{s}", t))
        ],
    ]
    for arguments in commands:
        assert_refused(command.sdjax(*arguments), said, "its training diverged")
    assert not out.exists()
    config = tiny.config(tiny_run.corpus, initial_checkpoint=str(broken))
    with pytest.raises(InputError, match=said):
        loop.train(config, tmp_path / "again")


def test_a_run_does_not_go_on_from_what_is_not_finite(broken, tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(broken, run)
    with pytest.raises(InputError, match="none of the checkpoints .* not finite"):
        loop.train(tiny.config(tiny_run.corpus, train_steps=14), run)


def test_evaluation_that_overflows_is_no_result(tiny_run, command, monkeypatch):
    from sdjax.training import evaluate

    monkeypatch.setattr(evaluate, "evaluator", lambda *_: lambda params: float("nan"))
    done = command.sdjax("evaluate", tiny_run.workdir, "--corpus", tiny_run.corpus)
    assert_refused(done, "bits per character on valid are nan")
    assert "bits per character" not in done.out


def test_a_config_that_a_checkpoint_cannot_have_had_is_refused(
    tiny_run, command, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(tiny_run.workdir, run)
    for step in stored.checkpoint_steps(run):
        path = step / "meta" / stored.META
        meta = json.loads(path.read_text())
        meta["config"]["window_size"] = 10**15
        meta.pop("xxh3_128")
        path.write_text(json.dumps(meta))
    done = command.sdjax("evaluate", run, "--corpus", tiny_run.corpus)
    assert_refused(done, "window_size is 1000000000000000")
