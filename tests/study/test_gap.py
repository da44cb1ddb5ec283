"""The factorial at a tiny size: its corpora, its measurements, and going on."""

import json
import signal

import numpy as np
import pytest
import tiny
from fixtures_run import assert_refused
from fixtures_training import signal_at

from sdjax.data.corpus import Corpus
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.prepare import synthetic
from sdjax.study import gap, gap_findings, gap_page, page
from sdjax.study.losses import Loss, measure, running_loss, trained
from sdjax.study.stages import Share, left
from sdjax.training.evaluate import evaluator
from sdjax.training.run import build_run

SHARDS = (4, 2, 1)
TEXTS = [example.text for example in synthetic.reviews(60, 0)]


def plan(folder) -> gap.Plan:
    config = tiny.config(folder, eval_batch_size=8)
    return gap.Plan(folder, config, SHARDS, Normalisation(), {"name": "synthetic"})


def test_all_arms_are_there_once():
    found = [arm for group in gap.arms([0, 1]) for arm in group]
    assert len(found) == len({arm.name for arm in found}) == 24
    assert len({arm.corpus for arm in found}) == len(gap.arms([0, 1])) == 12
    assert len({arm.draw for arm in found}) == 4


def test_as_much_text_is_taken_as_train_is_to_have():
    texts = gap.first_texts(synthetic.reviews(60, 0), 3000, SHARDS)
    size = sum(map(len, texts))
    assert texts == TEXTS[: len(texts)] and size - len(texts[-1]) < 5250 <= size
    with pytest.raises(InputError, match="--characters 30,000: .* 52,500 bytes"):
        gap.first_texts(synthetic.reviews(60, 0), 30_000, SHARDS)


def test_copies_replace_a_share_of_the_texts_and_come_from_those_that_stay():
    distinct = [f"text {i}" for i in range(200)]
    copied = gap.with_copies(distinct, 0.05, 3)
    changed = [i for i in range(200) if copied[i] != distinct[i]]
    assert len(changed) == 10 and len(set(copied)) == 190
    assert gap.with_copies(distinct, 0.05, 3) == copied
    assert gap.with_copies(distinct, 0.05, 4) != copied


@pytest.mark.parametrize("duplicates", gap.DUPLICATES)
def test_duplicates_are_removed_kept_or_made(tmp_path, duplicates):
    texts = [*TEXTS, *TEXTS[:5]]
    arm = gap.Arm("contiguous", duplicates, "carried", 0)
    corpus = gap.corpus_of(arm, plan(tmp_path), texts)
    found = [e.text for split in corpus.shards for e in corpus.examples(split)]
    assert len(found) == (60 if duplicates == "removed" else 65)
    twice = len(found) - len(set(found))
    assert {"removed": twice == 0, "kept": twice == 5}.get(duplicates, twice > 5 - 3)
    assert gap.corpus_of(arm, plan(tmp_path), texts).fingerprint == corpus.fingerprint


def test_a_held_out_part_of_the_input_is_a_shard(tmp_path):
    arm = gap.Arm("contiguous", "kept", "carried", 1)
    corpus = gap.corpus_of(arm, plan(tmp_path), TEXTS[:56])
    normalised = [text.strip() for text in TEXTS[:56]]
    examples, first, parts = list(corpus.examples("valid")), 0, []
    for shard in corpus.shards["valid"]:
        texts = [e.text.strip() for e in examples[first : first + shard.reviews]]
        parts.append(sorted(normalised.index(text) for text in texts))
        first += shard.reviews
    assert [len(part) for part in parts] == [8, 8]
    assert all(part == list(range(part[0], part[0] + 8)) for part in parts)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Two runs of one corpus, taken at once."""
    folder = tmp_path_factory.mktemp("gap")
    gap.take_all(plan(folder), TEXTS, [0], Share(1, 6))
    return folder


def results(folder) -> dict:
    paths = sorted((folder / "runs").glob("*/losses.json"))
    return {path.parent.name: left(path) for path in paths}


def test_a_share_takes_its_runs_and_no_others(undisturbed):
    names = ["contiguous-kept-carried-0", "contiguous-kept-reset-0"]
    assert sorted(results(undisturbed)) == names
    one, other = results(undisturbed).values()
    assert one["valid"] != other["valid"]


def test_an_interrupted_study_goes_on_and_gives_the_same(
    undisturbed, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        signal_at(patch, 6)
        with pytest.raises(SystemExit) as stopped:
            gap.take_all(plan(tmp_path), TEXTS, [0], Share(1, 6))
    assert stopped.value.code == 128 + signal.SIGTERM
    assert results(tmp_path) == {}
    gap.take_all(plan(tmp_path), TEXTS, [0], Share(1, 6))
    assert results(tmp_path) == results(undisturbed)
    # What is whole is not touched again, what is damaged is measured anew.
    path = tmp_path / "runs" / "contiguous-kept-reset-0" / "losses.json"
    path.write_bytes(path.read_bytes()[:-20])
    monkeypatch.setattr(gap.losses, "train", pytest.fail)
    gap.take_all(plan(tmp_path), TEXTS, [0], Share(1, 6))
    assert results(tmp_path) == results(undisturbed)


@pytest.mark.numerics
def test_the_measurements_are_those_of_training_and_evaluation(undisturbed, tolerances):
    """Valid as training logs it; the same shards one by one add up to it."""
    name = "contiguous-kept-reset-0"
    run = undisturbed / "runs" / name / "train"
    arm = gap.Arm("contiguous", "kept", "reset", 0)
    corpus = undisturbed / "corpora" / arm.corpus
    config = gap.config_of(arm, plan(undisturbed), corpus)
    loaded = trained(config, run)
    found = measure(loaded, config, run)
    assert json.loads(json.dumps(found)) == results(undisturbed)[name]
    np.testing.assert_allclose(
        found["valid_logged"], loaded.meta.valid_bpc, **tolerances["float32"]
    )
    built = build_run(config, run)
    whole = evaluator(loaded.model, built.valid, config.eval_batch_size)(loaded.params)
    np.testing.assert_allclose(found["valid_logged"], whole, **tolerances["float32"])
    # Here evaluation has as many rows as training, so that history makes no difference.
    parts = gap_findings.gap_of(found)
    np.testing.assert_allclose(parts.history, 0, atol=1e-6)
    np.testing.assert_allclose(
        parts.logged, parts.averaging + parts.remaining + parts.history, atol=1e-12
    )
    opened = Corpus.open(corpus)
    assert len(found["train"]) == len(found["valid"]) == SHARDS[1]
    for loss, shard in zip(found["valid"], opened.shards["valid"], strict=True):
        assert Loss(*loss).characters == shard.bytes - 1


def test_the_running_loss_weighs_each_record_by_its_characters():
    records = [{"chars": 100, "train_bpc": 4.0}, {"chars": 400, "train_bpc": 2.0}]
    assert running_loss(records) == pytest.approx((100 * 4 + 300 * 2) / 400)


def test_the_page_has_all_numbers_and_is_the_same_again(undisturbed, tmp_path):
    carried, reset = results(undisturbed).values()
    found = {
        arm: reset if arm.carry == "reset" else carried
        for group in gap.arms([0, 1])
        for arm in group
    }
    made = gap_page.page(found, "synthetic <b>", 8, 3000)
    for _ in range(2):
        written = page.write(tmp_path, made)
        html = written.read_text()
        assert "<script" not in html and "synthetic &lt;b&gt;" in html
        kept = json.loads((tmp_path / page.RESULTS).read_text())
        contents = sorted(p.read_bytes() for p in tmp_path.iterdir())
    assert contents == sorted(p.read_bytes() for p in tmp_path.iterdir())
    effect = kept["factors"]["remaining"]["reset"]
    gaps = [gap_findings.gap_of(result).remaining for result in (carried, reset)]
    assert effect["value"] == pytest.approx(gaps[1] - gaps[0])
    assert len(kept["runs"]) == 24
    assert made.verdict in (tmp_path / page.TABLES).read_text()


def test_the_command_takes_a_share_and_says_what_is_to_come(tmp_path, command):
    texts, out = tmp_path / "texts.txt", tmp_path / "out"
    texts.write_text("".join(f"{text}\n" for text in TEXTS))
    arguments = ["study", "valid-gap", texts, "--out", out, "--characters", 3000]
    arguments += ["--shards", "4/2/1", "--seeds", 0]
    labelled = command.sdjax(*arguments, "--label-key", "x")
    assert_refused(labelled, "--label-key x: this study reads no labels")
    carry = command.sdjax(*arguments, "--config.carry=reset")
    assert_refused(carry, "--config.carry=reset: the study sets config.carry")
    tiny_model = ["--config.model.hidden_size=8", "--config.model.embedding_size=4"]
    tiny_model += ["--config.window_size=16", "--config.warmup_steps=0"]
    share = command.sdjax(*arguments, *tiny_model, "--only", "6/6")
    assert share.status == 0 and "2 of 12 runs are whole; to come: cont" in share.err
    assert len(list((out / "runs").iterdir())) == 2
    assert not (out / page.PAGE).exists()
