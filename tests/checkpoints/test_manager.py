"""Checkpoints: what is kept, what comes back, and what is refused."""

import json
import math
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest
import tiny

from sdjax.checkpoints import load
from sdjax.checkpoints.load import checkpoint_steps, load_model, model_config
from sdjax.checkpoints.manager import Checkpoints
from sdjax.checkpoints.meta import Meta, check_same_run
from sdjax.checkpoints.stored import verify
from sdjax.data.text import Normalisation
from sdjax.errors import Damaged, InputError
from sdjax.integrity import sealed
from sdjax.model.cell import RecurrentState

ROWS = 8


@pytest.fixture(scope="module")
def state():
    return tiny.train_state(tiny.model())


def identity(**changes) -> Meta:
    """What says which run a checkpoint belongs to."""
    parts = {
        "model": model_config(tiny.model()),
        "corpus": {"fingerprint": "abc"},
        "stream": {"global_batch_size": 8, "window_size": 16, "seed": 0},
    }
    for key, value in changes.items():
        part, name = key.split("__")
        parts[part][name] = value
    corpus = parts.pop("corpus")["fingerprint"]
    return Meta(step=1, normalisation=Normalisation(), corpus=corpus, **parts)


def save(workdir, state, scores: dict, *, carry=None, **options):
    """Save a step for each score, with parameters that tell the step."""
    if carry is None:
        carry = tiny.on_devices(tiny.carry(ROWS), 1)
    with Checkpoints(workdir / "checkpoints", **({"keep_last": 9} | options)) as saved:
        for step, score in scores.items():
            here = state.replace(
                step=jax.numpy.int32(step),
                params=jax.tree.map(lambda x, step=step: x + step, state.params),
            )
            meta = replace(identity(), step=step, valid_bpc=score)
            saved.save(here, carry, meta)


def kept(workdir) -> list[int]:
    return [int(path.name) for path in checkpoint_steps(workdir)]


SCORES = {1: 5.0, 2: 2.0, 3: math.nan, 4: None, 5: 4.0, 6: 3.0}


def test_the_last_and_the_best_on_valid_are_kept(tmp_path, state):
    save(tmp_path, state, SCORES, keep_last=2)
    assert kept(tmp_path) == [2, 5, 6]


def test_every_nth_is_kept_when_asked_for(tmp_path, state):
    save(tmp_path, state, SCORES, keep_last=1, keep_every_steps=3)
    assert kept(tmp_path) == [2, 3, 6]


@pytest.mark.parametrize("bad", [math.nan, math.inf, None])
def test_a_score_that_is_not_a_number_is_never_the_best(tmp_path, state, bad):
    save(tmp_path, state, {1: bad, 2: 4.0, 3: bad, 4: 5.0, 5: bad}, keep_last=2)
    assert kept(tmp_path) == [2, 4, 5]
    assert load_model(tmp_path).path.name == "2"


def test_load_model_takes_the_best_of_a_run_or_the_step_asked_for(tmp_path, state):
    save(tmp_path, state, {9: 2.5, 20: 4.0, 100: 2.0, 101: 3.0})
    best = load_model(tmp_path)
    assert (best.path.name, best.meta.step) == ("100", 100)
    expected = jax.tree.map(lambda x: np.asarray(x + 100), state.params)
    tiny.assert_trees_equal(best.params, expected)
    assert best.model == tiny.model()
    assert load_model(tmp_path / "checkpoints" / "20").meta.step == 20


def test_load_model_takes_the_newest_where_nothing_was_measured(tmp_path, state):
    save(tmp_path, state, {1: None, 2: math.nan, 3: None})
    assert load_model(tmp_path).path.name == "3"


def test_load_model_computes_in_the_precision_asked_for(tmp_path, state):
    save(tmp_path, state, {1: 1.0})
    assert load_model(tmp_path, precision="bf16").model.precision == "bf16"
    with pytest.raises(InputError, match="'fp12' does not exist"):
        load_model(tmp_path, precision="fp12")


@pytest.mark.parametrize(("before", "after"), [(8, 2), (1, 4), (8, 8)])
def test_a_step_comes_back_bit_for_bit_on_another_number_of_devices(
    tmp_path, state, before, after
):
    carry = tiny.carry(ROWS)
    state = state.replace(step=jax.numpy.int32(7))
    with Checkpoints(tmp_path / "checkpoints", keep_last=1) as checkpoints:
        sums = {"interval_nats": 0.1 + 0.2}
        meta = replace(identity(), step=7, progress=sums, valid_bpc=1.0)
        checkpoints.save(state, tiny.on_devices(carry, before), meta)
    template = tiny.train_state(tiny.model())
    zeros = tiny.on_devices(jax.tree.map(np.zeros_like, carry), after)
    with Checkpoints(tmp_path / "checkpoints", keep_last=1) as checkpoints:
        assert checkpoints.latest == 7
        again = checkpoints.meta(7)
        restored, restored_carry = checkpoints.restore(7, template, zeros)
    assert replace(again, digests={}) == meta
    assert set(again.digests) == {"params", "state"}
    for part in ("step", "params", "opt_state"):
        for x, y in zip(
            jax.tree.leaves(getattr(restored, part)),
            jax.tree.leaves(getattr(state, part)),
            strict=True,
        ):
            np.testing.assert_array_equal(x, y)
    assert jax.tree.structure(restored) == jax.tree.structure(template)
    assert isinstance(restored_carry, RecurrentState)
    assert restored_carry.cell.shape == (after, ROWS // after, tiny.HIDDEN)
    for x, y in zip(restored_carry, tiny.on_devices(carry, after), strict=True):
        np.testing.assert_array_equal(x, y)


def test_the_loss_scale_and_a_half_carry_come_back(tmp_path):
    model = tiny.model("fp16")
    state, carry = tiny.train_state(model), tiny.carry(ROWS, precision="fp16")
    scale = state.loss_scale.replace(scale=jax.numpy.float32(4.0))
    with Checkpoints(tmp_path / "checkpoints", keep_last=1) as checkpoints:
        changed = state.replace(loss_scale=scale)
        half = identity(model__precision="fp16")
        checkpoints.save(changed, tiny.on_devices(carry, 2), half)
        checkpoints.wait()
        restored, carry_back = checkpoints.restore(1, state, tiny.on_devices(carry, 1))
    assert restored.loss_scale.scale == 4
    assert carry_back.hidden.dtype == np.float16
    np.testing.assert_array_equal(carry_back.hidden[0], carry.hidden)


def test_a_new_run_has_no_latest_step(tmp_path):
    with Checkpoints(tmp_path / "checkpoints", keep_last=1) as checkpoints:
        assert checkpoints.latest is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model__hidden_size": 16}, "model.hidden_size is 8 there and 16 here"),
        ({"model__cell": "lstm"}, "model.cell is 'mlstm' there and 'lstm' here"),
        ({"corpus__fingerprint": "xyz"}, "corpus.fingerprint is 'abc' there"),
        ({"stream__window_size": 8}, "stream.window_size is 16 there and 8 here"),
        ({"stream__seed": 1}, "stream.seed is 0 there and 1 here"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_run_of_something_else_is_refused_by_what_differs(tmp_path, change, words):
    check_same_run(identity(), identity(), tmp_path)
    with pytest.raises(InputError) as refused:
        check_same_run(identity(), identity(**change), tmp_path)
    message = str(refused.value)
    assert words in message and str(tmp_path) in message and "--workdir" in message
    assert "\n" not in message


def test_the_precision_of_a_run_may_change(tmp_path):
    check_same_run(identity(), identity(model__precision="fp16"), tmp_path)


def test_every_difference_is_named(tmp_path):
    other = identity(model__cell="lstm", stream__seed=1)
    with pytest.raises(InputError, match="model.cell.*stream.seed"):
        check_same_run(identity(), other, tmp_path)


@pytest.mark.parametrize("place", ["", "checkpoints", "nowhere"])
def test_a_folder_without_a_checkpoint_is_refused(tmp_path, place):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match="no checkpoint in .*--workdir"):
        load_model(tmp_path / place)


def cut_short(path):
    for file in (f for f in path.rglob("*") if f.is_file()):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGE = {
    "params cut short": lambda step: cut_short(step / "params"),
    "params gone": lambda step: shutil.rmtree(step / "params"),
    "meta cut short": lambda step: cut_short(step / "meta"),
    "meta empty": lambda step: (step / "meta" / "metadata").write_text("{}"),
    "meta gone": lambda step: (step / "meta" / "metadata").unlink(),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path, state, kind):
    save(tmp_path, state, {4: 1.0})
    DAMAGE[kind](tmp_path / "checkpoints" / "4")
    with pytest.raises(InputError) as refused:
        load_model(tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("part", ["meta", "params", "state"])
def test_a_run_does_not_go_on_from_a_damaged_checkpoint(tmp_path, state, part):
    save(tmp_path, state, {4: 1.0})
    cut_short(tmp_path / "checkpoints" / "4" / part)
    carry = tiny.on_devices(tiny.carry(ROWS), 1)
    with Checkpoints(tmp_path / "checkpoints", keep_last=1) as checkpoints:
        with pytest.raises(InputError) as refused:
            checkpoints.meta(4)
            checkpoints.restore(4, state, carry)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)


def flipped(path, place):
    """Overwrite one byte of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


def largest(folder):
    return max(
        (p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size
    )


@pytest.mark.parametrize("part", ["params", "state"])
def test_a_flipped_byte_of_an_array_is_named(tmp_path, state, part):
    save(tmp_path, state, {4: 1.0})
    step = tmp_path / "checkpoints" / "4"
    file = largest(step / part)
    flipped(file, file.stat().st_size // 2)
    carry = tiny.on_devices(tiny.carry(ROWS), 1)
    with Checkpoints(tmp_path / "checkpoints", keep_last=1) as checkpoints:
        with pytest.raises(Damaged, match=f"checkpoint .*/4: damaged, .*/4/{part}"):
            checkpoints.restore(4, state, carry)
    assert len(verify(step).problems) == 1
    if part == "params":
        with pytest.raises(Damaged, match="damaged"):
            load_model(tmp_path)


def test_what_was_saved_is_whole(tmp_path, state):
    save(tmp_path, state, {4: 1.0})
    verdict = verify(tmp_path / "checkpoints" / "4")
    arrays = len(jax.tree.leaves((state.params, state.opt_state, state.loss_scale)))
    assert not verdict.problems and not verdict.without
    assert verdict.checked == 1 + arrays + 1 + 2  # the meta, `step` and the carry


def test_a_run_goes_back_to_the_newest_whole_checkpoint(tmp_path, state):
    save(tmp_path, state, {4: 1.0, 8: 1.0, 12: 1.0})
    folder, carry = tmp_path / "checkpoints", tiny.on_devices(tiny.carry(ROWS), 1)
    cut_short(folder / "12" / "state")
    shutil.rmtree(folder / "8" / "meta")
    with Checkpoints(folder, keep_last=3) as checkpoints:
        found = checkpoints.resume(state, carry, lambda meta: None)
        assert checkpoints.latest == 4
        step = state.replace(step=jax.numpy.int32(5))
        checkpoints.save(step, carry, replace(identity(), step=5))
    assert found.meta.step == 4 and len(found.damaged) == 2
    assert sorted(p.name for p in folder.iterdir()) == [
        *("12.damaged", "4", "5", "8.damaged")
    ]


def test_no_whole_checkpoint_is_an_error_and_nothing_is_renamed(tmp_path, state):
    save(tmp_path, state, {4: 1.0})
    cut_short(tmp_path / "checkpoints" / "4" / "meta")
    carry = tiny.on_devices(tiny.carry(ROWS), 1)
    with Checkpoints(tmp_path / "checkpoints", keep_last=1) as checkpoints:
        with pytest.raises(InputError, match="none of the checkpoints .* is whole"):
            checkpoints.resume(state, carry, lambda meta: None)
    assert kept(tmp_path) == [4]


def test_a_step_that_is_asked_for_is_resumed_from(tmp_path, state):
    save(tmp_path, state, {4: 1.0, 8: 1.0})
    folder, carry = tmp_path / "checkpoints", tiny.on_devices(tiny.carry(ROWS), 1)
    with Checkpoints(folder, keep_last=3) as checkpoints:
        with pytest.raises(InputError, match="--step 5: .* has 4, 8"):
            checkpoints.resume(state, carry, lambda meta: None, 5)
        found = checkpoints.resume(state, carry, lambda meta: None, 4)
        assert found.state.step == 4 and checkpoints.latest == 4
    assert sorted(p.name for p in folder.iterdir()) == ["4", "8.newer"]


def test_a_checkpoint_without_meta_does_not_hide_the_others(tmp_path, state, capsys):
    save(tmp_path, state, {4: 2.0, 8: 1.0})
    shutil.rmtree(tmp_path / "checkpoints" / "8" / "meta")
    assert load_model(tmp_path).meta.step == 4
    error = capsys.readouterr().err
    assert "checkpoints/8: damaged" in error and "the others are used" in error


def test_a_checkpoint_that_is_removed_while_it_is_read_gives_way_to_the_next(
    tmp_path, state, monkeypatch
):
    save(tmp_path, state, {4: 2.0, 8: 1.0})
    read = load.read_item

    def removed_first(step, *rest):
        if step.name == "8":
            shutil.rmtree(step)
        return read(step, *rest)

    monkeypatch.setattr(load, "read_item", removed_first)
    assert load_model(tmp_path).meta.step == 4


def test_many_checkpoints_in_a_row_are_replaced(tmp_path, state):
    """Nothing is emptied while orbax moves a checkpoint there."""
    save(tmp_path, state, {step: 1.0 / step for step in range(1, 20)}, keep_last=1)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["19"]


def test_resuming_leaks_no_checkpoints(tmp_path, state):
    for first in (1, 5, 9):
        scores = {step: 50.0 - step for step in range(first, first + 4)}
        save(tmp_path, state, scores, keep_last=2)
    assert kept(tmp_path) == [11, 12]
    save(tmp_path, state, {13: 40.0, 14: 41.0, 15: 42.0}, keep_last=2)
    assert kept(tmp_path) == [12, 14, 15]


def test_another_format_version_is_refused(tmp_path, state):
    save(tmp_path, state, {4: 1.0})
    file = tmp_path / "checkpoints" / "4" / "meta" / "metadata"
    stored = json.loads(file.read_text()) | {"format_version": 99}
    file.write_text(json.dumps(sealed(stored)))
    with pytest.raises(InputError, match="format 99, this version reads 1"):
        load_model(tmp_path)
