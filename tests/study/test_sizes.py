"""The study of sizes at a tiny size, through the command, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from fixtures_run import assert_refused

from sdjax.data.corpus import Corpus
from sdjax.features import file as feature_file
from sdjax.probe.l1_probe import run_probe
from sdjax.study import sizes, sizes_page
from sdjax.study.published import MODELS
from sdjax.training.config.load import named

TINY = [
    *("--config.model.embedding_size=4", "--config.window_size=16"),
    *("--config.warmup_steps=0", "--config.eval_batch_size=32"),
]


def arguments(run, out: Path, *more) -> list:
    texts = [w for split, path in run.texts.items() for w in (f"--{split}", path)]
    return [
        *("study", "sizes", "--corpus", run.corpus, "--sizes", 4, 8, "--seeds", 0),
        *("--characters", 1000, *texts, "--text-key", "sentence"),
        *("--label-key", "label", "--out", out, *TINY, *more),
    ]


@pytest.fixture(scope="module")
def studied(tiny_run, tmp_path_factory):
    """A study of two sizes, taken in two shares; the folder and what was printed."""
    from fixtures_run import Command

    folder = tmp_path_factory.mktemp("sizes") / "study"
    with pytest.MonkeyPatch.context() as patch:
        printed = Command(patch, Captured())
        first = printed.sdjax(*arguments(tiny_run, folder, "--only", "1/2"))
        files = sorted(p.name for p in folder.iterdir())
        second = printed.sdjax(*arguments(tiny_run, folder))
    assert (first.status, second.status) == (0, 0)
    return folder, files


class Captured:
    """What `Command` needs of capsys; a fixture of a module has none."""

    def readouterr(self) -> tuple[str, str]:
        return "", ""


def test_a_share_leaves_no_page_and_all_together_do(studied):
    folder, before = studied
    assert before == ["runs", "study.json"]
    after = {p.name for p in folder.iterdir()} - set(before)
    assert after == {
        *("results.json", "sizes.png", "sizes.svg", "study.html", "study.md")
    }
    assert sorted(p.name for p in (folder / "runs").iterdir()) == ["4-0", "8-0"]


def test_the_numbers_are_those_of_the_wings(studied):
    """The probe of the features that lie there; bits near those of valid."""
    folder, _ = studied
    kept = json.loads((folder / "results.json").read_text())["runs"]["8-0"]
    run = folder / "runs" / "8-0"
    features = [feature_file.load(run / f"features-{s}.npz") for s in sizes.SPLITS]
    result = run_probe(*features, n_jobs=1)
    assert kept["probe"]["accuracy"] == result.accuracy["test"]
    assert kept["probe"]["nonzero"] == result.nonzero
    assert features[0].features.shape == (60, 8)
    assert 1000 <= kept["bits"]["characters"] < 1000 + 8 * 16
    assert abs(kept["bits"]["test"] - kept["bits"]["valid"]) < 0.5
    page = (folder / "study.md").read_text()
    assert f"{kept['bits']['test']:.4f}" in page and "| 8,192 | - | 93.7% |" in page


def test_a_second_time_nothing_is_done_and_damage_is_done_again(
    studied, tiny_run, command, monkeypatch
):
    folder, _ = studied
    before = (folder / "results.json").read_bytes()
    probe = folder / "runs" / "4-0" / "probe.json"
    features = folder / "runs" / "4-0" / "features-test.npz"
    probe.unlink()
    features.write_bytes(features.read_bytes()[:-40])
    monkeypatch.setattr("sdjax.study.losses.train", pytest.fail)
    again = command.sdjax(*arguments(tiny_run, folder))
    assert again.status == 0, again.err
    assert (folder / "results.json").read_bytes() == before
    whole = command.sdjax("verify", folder)
    assert (whole.status, "whole, 10 parts" in whole.out) == (0, True), whole
    page = folder / "study.html"
    kept = page.read_bytes()
    page.write_bytes(kept[:-5])
    assert_refused(command.sdjax("verify", folder), "study.html", "damaged")
    page.write_bytes(kept)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--characters", "900"], ["characters is 1000 there and 900 here"]),
        (["--config.warmup_steps=9"], ["no more than config.warmup_steps 9"]),
        (["--config.model.hidden_size=9"], ["the study sets config.model.hidden_size"]),
        (["--config.seed=3"], ["--config.seed=3: the study sets"]),
        (["--only", "3/2"], ["--only 3/2"]),
        (["--valid", ""], ["--train goes with the other two"]),
    ],
    ids=["settings", "warmup", "units", "seed", "share", "one split"],
)
def test_what_does_not_fit_is_refused(studied, tiny_run, command, more, words):
    folder, _ = studied
    out = folder if more[0] in ("--characters", "--only") else folder.parent / "other"
    refused = command.sdjax(*arguments(tiny_run, out, *more))
    assert_refused(refused, *words)


def test_equal_compute_gives_larger_models_less_to_read(tiny_run):
    corpus = Corpus.open(tiny_run.corpus)
    shared = (Path("x"), named("study"), corpus, 1_000_000)
    plan = sizes.Plan(*shared, "compute", 64, {})
    small, large = (
        sizes.characters_of(sizes.Size(units, 0), plan) for units in (64, 512)
    )
    assert small == 1_000_000
    cost = {n: sizes.flops(plan.config, n, "bytes") for n in (64, 512)}
    np.testing.assert_allclose(large * cost[512], small * cost[64], rtol=1e-4)
    assert cost[64] == 6 * ((64 + 64) * 5 * 64 + 64 * 256)
    same = sizes.Plan(*shared, "characters", 64, {})
    assert sizes.characters_of(sizes.Size(512, 0), same) == 1_000_000


def test_the_published_points_are_those_of_the_reproduction_and_the_original():
    errors = {m.units: round(100 * (1 - m.accuracy), 1) for m in MODELS[:-1]}
    assert errors == {256: 46.8, 1024: 18.2, 4096: 8.2, 8192: 6.3}
    assert (MODELS[-1].units, MODELS[-1].bits, MODELS[-1].accuracy) == (
        *(4096, 1.12, 0.918),
    )


def test_the_verdict_names_a_best_size_that_is_not_the_largest():
    def result(bits: float, accuracy: float) -> dict:
        probe = {"accuracy": accuracy, "top_unit": 0.5, "majority": 0.5, "C": 1.0}
        costs = {"characters": 1000, "minutes": 1.0, "valid": bits}
        return {
            "bits": {"test": bits, **costs},
            "probe": probe | {"nonzero": 3, "texts": 100},
        }

    found = {
        sizes.Size(64, 0): result(2.5, 0.60),
        sizes.Size(64, 1): result(2.7, 0.64),
        sizes.Size(128, 0): result(2.2, 0.71),
        sizes.Size(256, 0): result(2.4, 0.70),
    }
    about = sizes_page.About("reviews", "sentences", 1000, "characters")
    said = sizes_page.page(found, about).verdict
    assert "from 2.600 at 64 units to 2.400 at 256, with the lowest, 2.200, at 128" in (
        said
    )
    assert "62.0% to 70.0%, with the highest, 71.0%, at 128; seeds" in said
    assert "by up to 4.0% in accuracy" in said
