"""The comparison of runs: table and figure from their logs and checkpoints."""

import dataclasses
import json

import numpy as np
import pytest
import tiny
from fixtures_run import assert_refused
from matplotlib.image import imread

from sdjax.checkpoints.meta import Meta
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.report import comparison, style
from sdjax.training.metrics import Progress
from sdjax.training.run import build_run

META = Meta(
    step=200,
    model={"cell": "mlstm", "hidden_size": 4096, "precision": "bf16"},
    normalisation=Normalisation(),
    config={"train_steps": 200},
)


def records(count: int, rate: float | None = 100.0) -> list[dict]:
    """Make a metrics log in which every second record has `valid_bpc`."""
    return [
        {
            "step": 10 * i,
            "chars": 6000 * i,
            "train_bpc": 2 + 1 / i,
            "valid_bpc": 2.5 + 1 / i if i % 2 == 0 else None,
            "chars_per_second": rate,
        }
        for i in range(1, count + 1)
    ]


@pytest.mark.parametrize("planned", ["steps", "epochs"])
def test_a_run_that_was_stopped_is_drawn_to_where_it_came(tmp_path, planned):
    steps = {"steps": 1000, "epochs": 0}[planned]
    meta = dataclasses.replace(META, config={"train_steps": steps}, total_steps=1000)
    run = comparison.read_run(tmp_path / "a", records(30), meta)
    assert run.progress[-1] == pytest.approx(0.3)


def test_the_planned_steps_of_a_run_by_epochs_are_in_its_checkpoint(tiny_run, tmp_path):
    config = tiny.config(tiny_run.corpus, train_steps=0, train_epochs=0.3)
    run = build_run(config, tmp_path / "run")
    planned = run.training.total_steps
    assert 0 < planned < len(run.windows)
    meta = run.meta(Progress(step=1))
    again = Meta.from_json(json.loads(json.dumps(meta.as_json())), "here")
    assert again.total_steps == planned


def test_a_run_is_read_from_its_log(tmp_path):
    run = comparison.read_run(tmp_path / "a", records(10)[::-1], META)
    assert (run.name, run.model, run.precision) == ("a", "mlstm 4,096", "bf16")
    np.testing.assert_allclose(run.progress, np.arange(1, 11) / 20)
    np.testing.assert_allclose(run.minutes, np.arange(1, 11))  # 6,000 at 100 a second
    np.testing.assert_allclose(run.valid[1::2], 2.5 + 1 / np.arange(2, 11, 2))
    assert np.isnan(run.valid[::2]).all()
    header, row = comparison.table([run])
    assert header.split()[:3] == ["run", "model", "precision"]
    assert row.split() == "a mlstm 4,096 bf16 60,000 10.0 100 2.100 2.600".split()


def test_a_run_without_checkpoint_and_valid(tmp_path):
    log = [{"step": 5, "chars": 10, "train_bpc": 3.0, "chars_per_second": None}]
    run = comparison.read_run(tmp_path / "a", log)
    assert run.progress.tolist() == [1.0] and run.minutes.tolist() == [0.0]
    assert comparison.table([run])[1].split() == "a - - 10 - - 3.000 -".split()
    comparison.compare([run], tmp_path / "a.png")


def test_a_log_without_bits(tmp_path):
    for log in ([], [{"step": 1}], [{"step": 1, "chars": 2, "train_bpc": None}]):
        with pytest.raises(InputError, match="a: no bits per character in metrics"):
            comparison.read_run(tmp_path / "a", log)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_figure(tmp_path, count):
    runs = [
        comparison.read_run(tmp_path / f"run {i}", records(6 + i), META)
        for i in range(count)
    ]
    comparison.compare(runs, tmp_path / "a.png")
    image = imread(tmp_path / "a.png")
    assert image.shape[1] == round(style.WIDTH * style.DPI) and image.std() > 0.02
    assert "</svg>" in (tmp_path / "a.svg").read_text()


def test_runs_of_the_same_data_are_drawn_as_differences_too(tmp_path):
    """The differences take one more panel; runs without common points get none."""
    first, same = (comparison.read_run(tmp_path / n, records(8), META) for n in "ab")
    elsewhere = [record | {"chars": record["chars"] + 1} for record in records(8)]
    other = comparison.read_run(tmp_path / "c", elsewhere, META)
    heights = []
    for runs in ([first, other], [first, same]):
        comparison.compare(runs, tmp_path / "a.png")
        heights.append(imread(tmp_path / "a.png").shape[0])
        assert ("bits above a" in (tmp_path / "a.svg").read_text()) == (same in runs)
    assert heights[1] > heights[0] * 1.2


def test_more_runs_than_line_styles(tmp_path):
    runs = [comparison.read_run(tmp_path, records(3))] * (comparison.MAX_RUNS + 1)
    with pytest.raises(InputError, match="21 runs .* at most 20"):
        comparison.compare(runs, tmp_path / "a.png")


def test_the_command(command, tiny_run, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    log = "".join(json.dumps(record) + "\n" for record in records(4))
    (other / "metrics.jsonl").write_text(log)
    out = tmp_path / "new" / "a.png"
    done = command.sdjax("figures", "compare", tiny_run.workdir, other, "--out", out)
    assert done.status == 0, done.err
    _, first, second, last = done.out.splitlines()
    assert first.split()[:4] == ["run", "mlstm", "8", "fp32"]
    assert second.split()[:3] == ["other", "-", "-"]
    assert last == f"figure: {out}" and out.is_file()


def test_the_command_with_bad_input(command, tiny_run, tmp_path):
    refused = command.sdjax("figures", "compare", tmp_path / "none")
    assert_refused(refused, "none: no metrics.jsonl", "--workdir")
    run = tiny_run.workdir
    refused = command.sdjax("figures", "compare", run, "--out", tmp_path / "a.pdf")
    assert_refused(refused, "a.pdf", ".png")
    assert_refused(command.sdjax("figures"), "FIGURE", "--help")
