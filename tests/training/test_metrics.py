"""Bits per character and the metrics log."""

import json
import math
from types import SimpleNamespace

import pytest

from sdjax.errors import InputError
from sdjax.training.metrics import (
    MetricsLog,
    Progress,
    bits_per_character,
    read_metrics,
)


def step_metrics(nats, predicted, **values):
    defaults = {
        **{"grad_norm": 1.0, "loss_scale": 1.0},
        **{"skipped": 0, "rows_zeroed": 0, "updates": 1},
    }
    return SimpleNamespace(nats=nats, predicted=predicted, **(defaults | values))


def test_bits_per_character_of_a_uniform_guess_is_eight():
    assert bits_per_character(100 * math.log(256), 100) == pytest.approx(8)


def test_bits_per_character_of_nothing_is_not_a_number():
    assert math.isnan(bits_per_character(0.0, 0))


def test_an_interval_is_weighted_by_bytes_not_by_steps():
    progress = Progress()
    progress.add(step_metrics(10 * math.log(2), 10))
    progress.add(step_metrics(90 * 3 * math.log(2), 90))
    record = progress.take_record(lambda updates: 0.5 * updates)
    assert record["train_bpc"] == pytest.approx((10 + 270) / 100)
    assert (record["step"], record["chars"]) == (2, 100)
    assert record["learning_rate"] == 0.5 * progress.updates
    assert math.isnan(progress.take_record(lambda _: 0.0)["train_bpc"])


def test_progress_counts_updates_and_zeroed_rows_apart_from_steps():
    progress = Progress()
    progress.add(step_metrics(1.0, 4, updates=1, rows_zeroed=2))
    progress.add(step_metrics(1.0, 4, updates=1, rows_zeroed=1, loss_scale=8.0))
    assert (progress.step, progress.updates, progress.rows_zeroed) == (2, 1, 3)
    assert progress.loss_scale == 8.0


def test_overflows_are_counted_while_the_loss_scale_stands_still():
    progress, counted = Progress(), []
    for skipped, scale in [
        (0, 4),
        (1, 4),
        (1, 2),
        (1, 1),
        (1, 1),
        (1, 1),
        (0, 1),
        (1, 1),
    ]:
        norm = math.inf if skipped else 7.0
        step = step_metrics(1.0, 4, skipped=skipped, loss_scale=scale, grad_norm=norm)
        progress.add(step)
        counted.append(progress.overflows)
    assert counted == [0, 1, 1, 1, 2, 3, 0, 1]
    assert progress.finite_grad_norm == 7


def test_a_run_that_no_loss_scale_can_save_is_given_up_with_what_to_try():
    progress = Progress()
    progress.add(step_metrics(1.0, 4, grad_norm=0.25))
    for _ in range(3):
        progress.check_overflows(3)
        progress.add(step_metrics(0.0, 0, skipped=1, grad_norm=math.nan))
    with pytest.raises(InputError) as given_up:
        progress.check_overflows(3)
    for words in (
        "3 updates in a row",
        "steps 2 to 4",
        "norm was 0.25",
        "learning_rate",
    ):
        assert words in str(given_up.value)


def test_progress_survives_json_in_the_middle_of_an_interval():
    progress = Progress()
    progress.add(step_metrics(0.1 + 0.2, 7, grad_norm=1 / 3))
    again = Progress(**json.loads(json.dumps(progress.as_json())))
    assert again == progress


def write_steps(workdir, steps, start=0):
    with MetricsLog(workdir, start) as log:
        for step in steps:
            log.write({"step": step, "train_bpc": 1.0 / step})


def steps_in(workdir):
    return [record["step"] for record in read_metrics(workdir / "metrics.jsonl")]


def test_a_resumed_run_writes_over_what_came_after_its_checkpoint(tmp_path):
    write_steps(tmp_path, [2, 4, 6, 8])
    write_steps(tmp_path, [6, 8, 10], start=4)
    assert steps_in(tmp_path) == [2, 4, 6, 8, 10]


def test_a_run_from_the_start_empties_the_log(tmp_path):
    write_steps(tmp_path, [2, 4])
    write_steps(tmp_path, [3])
    assert steps_in(tmp_path) == [3]


@pytest.mark.parametrize("half", ['{"step": 6, "train', '{"step": 6}garbage', "{"])
def test_a_last_line_cut_short_by_a_kill_is_left_out(tmp_path, half):
    write_steps(tmp_path, [2, 4])
    with (tmp_path / "metrics.jsonl").open("a") as log:
        log.write(half)
    assert steps_in(tmp_path) == [2, 4]
    write_steps(tmp_path, [6], start=4)
    assert steps_in(tmp_path) == [2, 4, 6]


def test_values_that_json_does_not_have_become_null(tmp_path):
    with MetricsLog(tmp_path, 0) as log:
        log.write({"step": 1, "a": math.nan, "b": math.inf, "c": None, "d": 1.5})
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "step": 1,
        "a": None,
        "b": None,
        "c": None,
        "d": 1.5,
    }


def test_every_line_is_on_disk_as_soon_as_it_is_written(tmp_path):
    with MetricsLog(tmp_path, 0) as log:
        log.write({"step": 1})
        assert steps_in(tmp_path) == [1]


def test_a_run_leaves_tensorboard_event_files(tmp_path):
    write_steps(tmp_path, [1])
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


def test_a_log_that_is_not_there_is_empty(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_a_damaged_line_costs_no_other_line(tmp_path, capsys):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"st\xffp": 2}\n17\n{"step": 4}\n{"ste')
    assert read_metrics(path) == [{"step": 1}, {"step": 4}]
    said = capsys.readouterr().err.splitlines()
    assert [line.partition("line ")[2][0] for line in said] == ["2", "3"]
