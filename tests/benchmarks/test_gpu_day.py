"""The day with a GPU, rehearsed, so that it is spent on measuring."""

import json
import sys
import time
from pathlib import Path

import pytest

from benchmarks import gpu_day
from benchmarks.gpu_day import SECONDS, Part, carry_out, how_to_bring, parse, plan


@pytest.mark.parametrize("half", ["first", "second"])
def test_a_half_takes_no_longer_than_it_may(half, tmp_path):
    arguments = parse([half, "--out", str(tmp_path), "--sst", str(tmp_path)])
    parts = plan(arguments)
    assert sum(part.seconds for part in parts) <= SECONDS
    assert {part.half for part in parts} == {half}


def test_a_part_can_be_left_out(tmp_path):
    names = {p.name for p in plan(parse(["--out", str(tmp_path), "--skip", "speed"]))}
    assert names == {"versions", "numerics"}


def test_a_machine_without_packages_is_told_which_and_how(monkeypatch, capsys):
    monkeypatch.setattr(gpu_day, "missing", lambda: ["orjson>=3.10"])
    assert gpu_day.main(["first"]) == 2
    said = capsys.readouterr().out
    assert "orjson>=3.10" in said and "--no-index --find-links wheels" in said
    assert how_to_bring(["orjson>=3.10"]) in said


def test_a_part_that_takes_too_long_is_ended_and_what_it_wrote_stays(tmp_path):
    code = "import time; print('begun', flush=True); time.sleep(600)"
    part = Part("slow", "first", 1, "", (sys.executable, "-c", code), "slow.txt")
    begin = time.monotonic()
    assert carry_out(part, 3, tmp_path) == "ended after 3 s"
    assert time.monotonic() - begin < 60
    assert (tmp_path / "slow.txt").read_text().startswith("begun")


@pytest.mark.slow
def test_the_rehearsal_measures_everything_in_a_few_small_files(tmp_path):
    assert gpu_day.main(["--rehearse", "--out", str(tmp_path)]) == 0
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    names = {path.name for path in files}
    assert {"versions.json", "numerics.txt", "speed.json", "speed.png"} <= names
    assert {"metrics.jsonl", "curve.png", "probe.txt", "wide.json"} <= names
    assert all(path.stat().st_size < 16 * 2**20 for path in files)
    speed = json.loads((tmp_path / "speed.json").read_text())
    assert {row["variant"] for row in speed["rows"]} >= {
        "sdjax",
        "plain scan, autodiff",
    }
    page = (tmp_path / "results-gpu.md").read_text()
    assert "| 16 x 4 | fp32 | sdjax |" in page and "top unit" in page
    assert Path(tmp_path / "work" / "report" / "report.html").is_file()
