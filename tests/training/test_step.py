"""The train step: data parallel, safe on overflow, deaf to padding.

The step runs under `vmap` with the axis name, which, unlike `pmap`, refuses an output
that is not the same on every replica. Compiling is what takes time here, so the
tests share one step per precision at 4 replicas of 2 rows.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from sdjax.model.devices import AXIS, replicate, spread
from sdjax.model.precision import loss_scale
from sdjax.training.metrics import bits_per_character
from sdjax.training.step import (
    cross_entropy,
    eval_step,
    next_loss_scale,
    train_step,
    updates_applied,
    zero_broken_rows,
)

REPLICAS, ROWS = 4, 8
STATE_AXES = {"in_axes": (None, 0, 0), "out_axes": (None, 0, None)}
UNEVEN = [6, 1, 0, 6, 3, 6, 2, 5]


def under_vmap(step):
    return jax.vmap(step, axis_name=AXIS, **STATE_AXES)


@cache
def start(precision: str = "fp32"):
    return tiny.train_state(tiny.model(precision))


@cache
def compiled_step():
    return jax.jit(under_vmap(train_step))


def run_step(state, batch, *, carry=None, replicas=REPLICAS, precision="fp32"):
    """Take one step; carry in and out are [G, H]."""
    carry = tiny.carry(ROWS, precision=precision) if carry is None else carry
    # Always from the host: arrays of another origin are compiled for again.
    carry = tiny.on_devices(jax.device_get(carry), replicas)
    batch = jax.device_get(tiny.on_devices(batch, replicas))
    state, carry, metrics = compiled_step()(state, carry, batch)
    return state, jax.tree.map(lambda x: x.reshape(ROWS, -1), carry), metrics


def adam(state):
    return optax.tree.get(state.opt_state, "ScaleByAdamState")


def assert_close(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.numerics
@pytest.mark.parametrize("lengths", [None, UNEVEN], ids=["full", "uneven"])
def test_replicas_together_equal_one_big_batch(lengths):
    one = many = start()
    for seed in range(3):
        batch = tiny.batch(ROWS, seed=seed, lengths=lengths)
        one, one_carry, one_metrics = run_step(one, batch, replicas=1)
        many, many_carry, many_metrics = run_step(many, batch)
        assert_close(one_metrics, many_metrics)
        assert_close(one_carry, many_carry)
    assert_close(adam(one), adam(many))
    assert_close(one.params, many.params)


def test_the_step_gives_every_replica_the_same_state():
    """`vmap` checks it while tracing, by `out_axes=None`."""
    batch = tiny.on_devices(tiny.batch(ROWS), REPLICAS)
    carry = tiny.on_devices(tiny.carry(ROWS), REPLICAS)
    jax.eval_shape(under_vmap(train_step), start(), carry, batch)


def test_a_forgotten_mean_over_replicas_would_be_caught(monkeypatch):
    """The check above is worth something: without `pmean` it fails."""
    batch = tiny.on_devices(tiny.batch(ROWS), REPLICAS)
    carry = tiny.on_devices(tiny.carry(ROWS), REPLICAS)
    monkeypatch.setattr(jax.lax, "pmean", lambda x, axis_name: x)
    with pytest.raises(ValueError, match="out_axes"):
        jax.eval_shape(under_vmap(train_step), start(), carry, batch)


def test_real_devices_hold_equal_shards_and_trace_the_step_once():
    traces, devices = [], jax.devices()[:REPLICAS]

    def noted_step(*args):
        traces.append(None)
        return train_step(*args)

    p_step = jax.pmap(noted_step, axis_name=AXIS, devices=devices, **STATE_AXES)
    state = replicate(start(), devices)
    carry = spread(tiny.on_devices(tiny.carry(ROWS), REPLICAS), devices)
    for seed in range(3):
        batch = tiny.batch(ROWS, seed=seed, lengths=UNEVEN)
        state, carry, metrics = p_step(state, carry, tiny.on_devices(batch, REPLICAS))
        if seed == 0:
            expected, expected_carry, expected_metrics = run_step(start(), batch)
            assert_close(metrics, expected_metrics)
            assert_close(
                jax.tree.map(lambda x: x.reshape(ROWS, -1), carry), expected_carry
            )
            assert_close(jax.device_get(state.params), expected.params)
    assert len(traces) == 1
    for leaf in jax.tree.leaves((state, metrics)):
        shards = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(shards) == REPLICAS
        for shard in shards[1:]:
            np.testing.assert_array_equal(shard, shards[0])


@pytest.mark.numerics
def test_the_loss_is_the_mean_over_predicted_bytes():
    """Metrics give sums; the gradient is that of sum / count, by plain autodiff."""
    batch, carry = tiny.batch(ROWS, lengths=UNEVEN), tiny.carry(ROWS)
    state = start()

    def mean_nats(params):
        out = tiny.model().apply(
            {"params": params}, batch.tokens[:-1], carry, batch.reset
        )
        return cross_entropy(out["logits"], batch.tokens, batch.lengths) / sum(UNEVEN)

    loss, grads = jax.jit(jax.value_and_grad(mean_nats))(state.params)
    after, _, metrics = run_step(state, batch)
    assert metrics.predicted == sum(UNEVEN)
    np.testing.assert_allclose(metrics.nats / sum(UNEVEN), loss, rtol=1e-5)
    np.testing.assert_allclose(metrics.grad_norm, optax.tree.norm(grads), rtol=1e-5)
    # The first moment after one step is 0.1 g where nothing was clipped.
    assert metrics.grad_norm < 1
    assert_close(jax.tree.map(lambda m: m / 0.1, adam(after).mu), grads)


def test_an_untrained_model_needs_about_eight_bits_per_character():
    _, _, metrics = run_step(start(), tiny.batch(ROWS))
    assert bits_per_character(metrics.nats, metrics.predicted) == pytest.approx(8, 0.1)


def test_padding_bytes_do_not_influence_the_loss_or_the_update():
    batch = tiny.batch(ROWS, lengths=UNEVEN)
    noise = tiny.batch(ROWS, seed=9).tokens
    time = np.arange(len(noise))[:, None]
    padded = batch._replace(
        tokens=np.where(time <= batch.lengths[None], batch.tokens, noise)
    )
    assert (padded.tokens != batch.tokens).any()
    state, carry, metrics = run_step(start(), batch)
    other_state, other_carry, other_metrics = run_step(start(), padded)
    tiny.assert_trees_equal(metrics, other_metrics)
    tiny.assert_trees_equal(state.params, other_state.params)
    full = batch.lengths == 6
    np.testing.assert_array_equal(carry.cell[full], other_carry.cell[full])


def test_a_reset_row_starts_from_zeros_and_the_others_carry_on():
    batch = tiny.batch(ROWS)
    assert batch.reset.tolist() == [True] + [False] * 7
    _, carried, _ = run_step(start(), batch, carry=tiny.carry(ROWS))
    _, zeroed, _ = run_step(
        start(), batch, carry=jax.tree.map(np.zeros_like, tiny.carry(ROWS))
    )
    np.testing.assert_array_equal(carried.cell[0], zeroed.cell[0])
    assert (carried.cell[1:] != zeroed.cell[1:]).any(axis=1).all()


def test_the_gradient_is_clipped_at_a_global_norm_of_one():
    state = start()
    params = dict(state.params)
    params["output"] = jax.tree.map(lambda x: 100 * x, params["output"])
    after, _, metrics = run_step(state.replace(params=params), tiny.batch(ROWS))
    assert metrics.grad_norm > 1.5
    np.testing.assert_allclose(optax.tree.norm(adam(after).mu), 0.1, rtol=1e-5)


def break_one_row(carry, part: str, row: int):
    """Put an infinity in one row, so that one replica's gradient is not finite."""
    broken = np.array(getattr(carry, part))
    broken[row, 3] = np.inf
    return carry._replace(**{part: broken})


def assert_skipped(before, after, metrics):
    tiny.assert_trees_equal(after.params, before.params)
    tiny.assert_trees_equal(after.opt_state, before.opt_state)
    assert after.step == before.step + 1
    assert updates_applied(after.opt_state) == updates_applied(before.opt_state)
    assert metrics.skipped == 1
    assert metrics.updates == updates_applied(before.opt_state)


@pytest.mark.parametrize("part", ["hidden", "cell"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_one_broken_row_skips_the_update_everywhere_and_is_zeroed(precision, part):
    carry = tiny.carry(ROWS, precision=precision)
    batch = tiny.batch(ROWS)
    # One good step first, so that moments and counts are not all zero.
    before, good_carry, _ = run_step(start(precision), batch, carry=carry)
    broken = break_one_row(carry, part, row=5)
    after, after_carry, metrics = run_step(before, batch, carry=broken)
    assert_skipped(before, after, metrics)
    factor = 0.5 if precision == "fp16" else 1.0
    assert after.loss_scale.scale == factor * before.loss_scale.scale
    # Row 5 goes on from zeros, the others from where they are.
    assert metrics.rows_zeroed == 1
    _, expected, _ = run_step(before, batch, carry=carry)
    for got, whole in zip(after_carry, expected, strict=True):
        assert not got[5].any()
        np.testing.assert_array_equal(np.delete(got, 5, 0), np.delete(whole, 5, 0))
    # And the next step is an ordinary one.
    _, _, metrics = run_step(after, batch, carry=after_carry)
    assert (metrics.skipped, metrics.rows_zeroed, metrics.updates) == (0, 0, 2)


def test_a_loss_that_is_not_finite_is_not_counted():
    broken = break_one_row(tiny.carry(ROWS), "hidden", row=5)
    _, _, metrics = run_step(start(), tiny.batch(ROWS), carry=broken)
    assert (metrics.nats, metrics.predicted) == (0, 0)


def test_a_loss_scale_too_large_for_fp16_skips_and_halves_until_it_fits():
    state, batch = start("fp16"), tiny.batch(ROWS)
    scale = state.loss_scale.replace(scale=jnp.float32(2.0**30))
    state, skipped = state.replace(loss_scale=scale), 0
    for _ in range(30):
        before = state
        state, _, metrics = run_step(before, batch, precision="fp16")
        assert metrics.loss_scale == before.loss_scale.scale
        assert metrics.rows_zeroed == 0
        assert metrics.predicted == batch.lengths.sum()  # the loss itself is finite
        if not metrics.skipped:
            break
        assert_skipped(before, state, metrics)
        assert state.loss_scale.scale == before.loss_scale.scale / 2
        skipped += 1
    assert skipped > 3
    assert updates_applied(state.opt_state) == 1


def test_a_row_is_zeroed_whole_when_either_part_is_broken():
    carry = tiny.carry(4)
    carry = break_one_row(break_one_row(carry, "hidden", 1), "cell", 2)
    mended, count = zero_broken_rows(carry)
    assert count == 2
    for part, before in zip(mended, carry, strict=True):
        assert not part[1:3].any()
        np.testing.assert_array_equal(part[::3], before[::3])


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_few_steps_on_one_batch_lower_bits_per_character(precision):
    state, batch = start(precision), tiny.batch(ROWS)
    zeros = jax.tree.map(np.zeros_like, tiny.carry(ROWS, precision=precision))
    bits = []
    for _ in range(60):
        state, _, metrics = run_step(state, batch, carry=zeros, precision=precision)
        bits.append(bits_per_character(metrics.nats, metrics.predicted))
    assert metrics.updates == 60
    assert bits[0] > 7.5
    assert bits[-1] < 3


def test_an_evaluation_step_agrees_with_the_training_loss_and_carry():
    batch, carry = tiny.batch(ROWS, lengths=UNEVEN), tiny.carry(ROWS)
    model, state = tiny.model(), start()

    def step(params, carry, batch):
        return eval_step(model, params, carry, batch)

    p_eval = jax.vmap(step, axis_name=AXIS, in_axes=(None, 0, 0), out_axes=(0, None))
    after, sums = jax.jit(p_eval)(
        state.params, tiny.on_devices(carry, 2), tiny.on_devices(batch, 2)
    )
    _, expected, metrics = run_step(state, batch)
    np.testing.assert_allclose(sums.nats, metrics.nats, rtol=1e-5)
    assert sums.predicted == metrics.predicted
    assert_close(jax.tree.map(lambda x: x.reshape(ROWS, -1), after), expected)


def test_the_carry_is_not_trained_through():
    """Truncation: the incoming state gets no gradient."""
    model, state = tiny.model(), start()
    batch = tiny.batch(ROWS)

    def loss(carry):
        out = model.apply(
            {"params": state.params}, batch.tokens[:-1], carry, batch.reset
        )
        return cross_entropy(out["logits"], batch.tokens, batch.lengths)

    for part in jax.grad(loss)(tiny.carry(ROWS)):
        assert not part.any()


def test_a_run_resumed_with_a_shorter_growth_interval_still_grows_its_scale():
    saved = loss_scale("fp16", initial=8.0, growth_interval=2000)
    saved = saved.replace(fin_steps=jnp.int32(500))
    resumed = saved.replace(growth_interval=100)
    assert next_loss_scale(resumed, jnp.array(True)).scale == 16
