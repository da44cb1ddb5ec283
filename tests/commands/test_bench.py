"""`sdjax bench`: every measurement at a tiny size, and its bad input."""

import json
import time

import pytest
import tiny
from fixtures_run import ROOT, assert_refused

import benchmarks.prepare
from benchmarks.interleave import interleave, ratio, spread
from sdjax import cli
from sdjax.commands import bench, bench_measures

TINY = ("--precision", "fp32", "--rounds", 2)


@pytest.fixture
def without_torch(monkeypatch):
    monkeypatch.setattr(bench_measures, "_torch_is_here", lambda: False)


@pytest.fixture
def small_square(monkeypatch):
    from benchmarks import train

    monkeypatch.setattr(train, "SQUARE", 16)


def test_each_round_calls_every_variant_in_turn():
    calls = []
    seconds = interleave(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")},
        rounds=3,
        warm_up=1,
    )
    assert calls == ["a", "b"] * 4
    assert [len(s) for s in seconds.values()] == [3, 3]


def test_the_time_measured_is_the_call_s_own():
    seconds = interleave({"sleep": lambda: time.sleep(0.02)}, rounds=2, warm_up=0)
    assert min(seconds["sleep"]) >= 0.02


def test_ratio_is_taken_round_by_round():
    # A round in which the machine was twice as slow changes no ratio.
    assert ratio([4.0, 8.0, 4.0], [2.0, 4.0, 2.0]) == (2.0, 2.0, 2.0)
    assert spread([3.0]) == (3.0, 3.0, 3.0)
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == (3.0, 2.0, 4.0)


def test_bench_train(command, tmp_path, without_torch, small_square):
    done = command(
        cli.main,
        *("bench", "train", "--shapes", "8x2", "--window", 4, *TINY),
        *("--json", tmp_path / "rows.json", "--figure", tmp_path / "roof.png"),
    )
    assert done.status == 0, done.err
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    names = [row["variant"] for row in rows]
    assert names[0] == "sdjax" and "plain scan, autodiff" in names
    ours, scan = rows[0], rows[names.index("plain scan, autodiff")]
    assert ours["chars_per_second"] == pytest.approx(8 / ours["seconds"])
    assert ours["ratio"] is None and scan["ratio"] > 0
    assert (tmp_path / "roof.png").read_bytes().startswith(b"\x89PNG")


def test_the_baseline_is_the_plain_scan(monkeypatch):
    """And what is measured as ours is not."""
    from benchmarks import train
    from sdjax.model import recurrence

    traced = []
    for name in ("unroll", "scan_reference"):
        function = getattr(recurrence, name)

        def note(*arguments, name=name, function=function, **options):
            traced.append(name)
            return function(*arguments, **options)

        monkeypatch.setattr(recurrence, name, note)
    shape = train.Shape(8, 2, 4)
    train.sdjax_step(shape, "fp32")
    assert set(traced) == {"unroll"}
    traced.clear()
    train.scan_step(shape, "fp32")
    assert traced[-1] == "scan_reference"


def test_bench_featurize(command, tmp_path, without_torch):
    texts = tmp_path / "texts.csv"
    texts.write_text("text\n" + "\n".join(f"text number {i}" for i in range(5)))
    done = command(
        cli.main,
        *("bench", "featurize", "--input", texts, "--text-key", "text", *TINY),
        *("--hidden", 8, "--json", tmp_path / "rows.json"),
    )
    assert done.status == 0, done.err
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert row["texts"] == 5
    assert row["characters"] == 5 * len("\n text number 0 ")
    assert row["chars_per_core_second"] > 0


def test_bench_data(command, tmp_path):
    corpus = tiny.corpus(tmp_path / "corpus").folder
    done = command(
        cli.main,
        *("bench", "data", "--corpus", corpus, "--seconds", 0.2),
        *("--batch-size", 4, "--window", 8, "--json", tmp_path / "rows.json"),
    )
    assert done.status == 0, done.err
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert row["characters"] > 0 and len(row["by_part"]) == 10


def test_bench_loop(command, tmp_path):
    corpus = tiny.corpus(tmp_path / "corpus").folder
    done = command(
        cli.main,
        *("bench", "loop", "--corpus", corpus, "--shape", "8x2", "--window", 8),
        *("--steps", 10, "--precision", "fp32", "--rounds", 1),
        *("--json", tmp_path / "rows.json"),
    )
    assert done.status == 0, done.err
    bare, whole = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert (bare["variant"], whole["variant"]) == ("bare step", "train.py")
    assert whole["chars_per_second"] > 0 and whole["ratio"] > 0


@pytest.mark.parametrize(
    ("arguments", "variants"),
    [
        (
            ("prepare", "--reviews", 300, "--repeats", 1, "--folder", "."),
            2 * ["orjson, every line", "prepare, workers 1", "prepare, workers 2"],
        ),
        (
            ("generate", "--hidden", 8, "--samples", 8, "--length", 3, "--rounds", 1),
            ["at once", "one by one"],
        ),
        (
            ("sweep", "--texts", 40, "--units", 6, "--workers", 2, "--repeats", 1),
            ["one after another", "in processes"],
        ),
    ],
    ids=lambda value: value[0],
)
def test_bench_of_one_host(command, tmp_path, monkeypatch, arguments, variants):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(benchmarks.prepare, "SHARDS", "3/1/1")
    monkeypatch.setattr(benchmarks.prepare, "_POOL", 100)
    done = command(cli.main, "bench", *arguments, "--json", "rows.json")
    assert done.status == 0, done.err
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["variant"] for row in rows] == variants
    assert all(v is None or v for row in rows for v in row.values())
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["train", "--shapes", "8"], ["8", "HxB"]),
        (["train", "--precision", "fp8"], ["fp8"]),
        (["train", "--rounds", 0], ["--rounds"]),
        (["train", "--figure", "x.pdf", "--shapes", "8x2"], ["x.pdf", ".png"]),
        (["data", "--corpus", "nowhere"], ["nowhere"]),
        (["featurize", "--input", "none.csv"], ["none.csv", "no such file"]),
        (["prepare", "--folder", "nowhere"], ["--folder nowhere", "no such folder"]),
        (["sweep", "--workers", 0], ["--workers"]),
        (["what"], ["what"]),
    ],
)
def test_bad_input_in_one_line(command, arguments, words):
    assert_refused(command(cli.main, "bench", *arguments), *words)


def test_outside_a_checkout_it_says_so(command, monkeypatch, tmp_path):
    assert (ROOT / "benchmarks").is_dir()
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    assert_refused(command(cli.main, "bench", "train"), "benchmarks", "pip install -e")
