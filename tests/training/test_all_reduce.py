"""Gradients averaged over replicas: in which dtype, and what overflows on the way."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax.training.dynamic_scale import DynamicScale

from sdjax.model.devices import AXIS
from sdjax.model.language_model import fold_weight_norm
from sdjax.model.precision import policy
from sdjax.training.step import (
    cross_entropy,
    gradient_step,
    next_loss_scale,
    train_step,
    updates_applied,
)

REPLICAS, ROWS = 4, 8
F32 = jnp.dtype(jnp.float32)
HALVES = {name: policy(name).compute_dtype for name in ("bf16", "fp16")}
STEP_AXES = {"in_axes": (None, 0, 0), "out_axes": (None, 0, None)}


def spread(batch, precision):
    carry = tiny.carry(ROWS, precision=precision)
    return tiny.on_devices(carry, REPLICAS), tiny.on_devices(batch, REPLICAS)


POISON = 0  # a byte that no batch has


def poisoned(apply_fn):
    """Multiply the gradient into the logits by infinity where a window begins so."""

    @jax.custom_vjp
    def identity(logits, factor):
        return logits

    identity.defvjp(
        lambda logits, factor: (logits, factor),
        lambda factor, cotangent: (factor * cotangent, None),
    )

    def apply(variables, tokens, carry, reset):
        out = apply_fn(variables, tokens, carry, reset)
        factor = jnp.where(tokens[0, 0] == POISON, jnp.inf, 1.0)
        return out | {"logits": identity(out["logits"], factor)}

    return apply


@cache
def start(precision):
    state = tiny.train_state(tiny.model(precision))
    return state.replace(apply_fn=poisoned(state.apply_fn))


@cache
def compiled_gradient(precision, dtype):
    """Return the averaged gradient in the effective weights, still scaled."""
    state = start(precision)

    def over_replicas(scale, carry, batch):
        def step(carry, batch):
            weights = fold_weight_norm(state.params)
            arguments = state.apply_fn, weights, scale, carry, batch, dtype
            return gradient_step(*arguments)[0]

        return jax.vmap(step, axis_name=AXIS, out_axes=None)(carry, batch)

    return jax.jit(over_replicas)


@cache
def compiled_step(dtype):
    step = partial(train_step, all_reduce_dtype=dtype)
    return jax.jit(jax.vmap(step, axis_name=AXIS, **STEP_AXES))


def largest(tree) -> float:
    return max(float(jnp.abs(x).max()) for x in jax.tree.leaves(tree))


@pytest.mark.parametrize("precision", HALVES)
def test_an_average_in_half_is_that_in_float32_to_half_s_rounding(precision):
    """Each of four gradients, their three sums and the division are rounded once."""
    dtype, given = HALVES[precision], spread(tiny.batch(ROWS), precision)
    exact, rounded = (
        compiled_gradient(precision, kind)(jnp.float32(2.0**10), *given)
        for kind in (F32, dtype)
    )
    for x, y in zip(*map(jax.tree.leaves, (rounded, exact)), strict=True):
        assert (x.dtype, y.dtype) == (dtype, F32)
        bound = 5 * float(jnp.finfo(dtype).eps) * largest(y)
        np.testing.assert_allclose(x.astype(F32), y, rtol=0, atol=bound)
        assert (x.astype(F32) != y).any()  # it was rounded


def test_the_average_in_float32_is_what_flax_computes():
    """Which unscales before it averages."""
    state, (carry, batch) = start("fp16"), spread(tiny.batch(ROWS), "fp16")
    ours = compiled_gradient("fp16", F32)(jnp.float32(2.0**10), carry, batch)

    def loss(weights, carry, batch):
        out = state.apply_fn({"params": weights}, batch.tokens[:-1], carry, batch.reset)
        nats = cross_entropy(out["logits"], batch.tokens, batch.lengths)
        return nats * REPLICAS / (ROWS * 6)

    flax = jax.vmap(
        DynamicScale(scale=jnp.float32(2.0**10)).value_and_grad(loss, axis_name=AXIS),
        axis_name=AXIS,
        in_axes=(None, 0, 0),
    )
    _, finite, _, expected = jax.jit(flax)(fold_weight_norm(state.params), carry, batch)
    assert finite.all()
    for x, y in zip(*map(jax.tree.leaves, (ours, expected)), strict=True):
        np.testing.assert_allclose(x / 2.0**10, y[0], rtol=1e-5, atol=1e-7)


def test_a_sum_too_large_for_half_is_an_overflow_though_no_part_of_it_is():
    """Every replica has the same rows, and a gradient of 40,000 at the most."""
    state, (carry, batch) = start("fp16"), spread(tiny.batch(ROWS), "fp16")
    carry, batch = jax.tree.map(lambda x: np.stack([x[1]] * REPLICAS), (carry, batch))
    gradient = compiled_gradient("fp16", F32)
    scale = 40_000 / largest(gradient(jnp.float32(1), carry, batch))
    scaled = state.loss_scale.replace(scale=jnp.float32(scale))
    before = state.replace(loss_scale=scaled)
    after, _, metrics = compiled_step(HALVES["fp16"])(before, carry, batch)
    assert_untouched(before, after, metrics)
    assert metrics.rows_zeroed == 0 and metrics.predicted == ROWS * 6


def test_every_device_holds_the_same_average():
    """`out_axes=0` shows what each of them has; their rows differ."""
    state, (carry, batch) = start("fp16"), spread(tiny.batch(ROWS), "fp16")
    step = partial(gradient_step, state.apply_fn, all_reduce_dtype=HALVES["fp16"])
    averaged, *_ = jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, None, 0, 0),
        devices=jax.devices()[:REPLICAS],
    )(fold_weight_norm(state.params), jnp.float32(2.0**10), carry, batch)
    for leaf in map(np.asarray, jax.tree.leaves(averaged)):
        assert leaf.any()
        for other in leaf[1:]:
            np.testing.assert_array_equal(other, leaf[0])


def assert_untouched(before, after, metrics):
    """Bit for bit, but for the counter of batches and the loss scale."""
    tiny.assert_trees_equal(after.params, before.params)
    tiny.assert_trees_equal(after.opt_state, before.opt_state)
    assert updates_applied(after.opt_state) == updates_applied(before.opt_state)
    assert (metrics.skipped, after.step) == (1, before.step + 1)
    assert metrics.loss_scale == before.loss_scale.scale
    factor = before.loss_scale.backoff_factor
    assert after.loss_scale.scale == before.loss_scale.scale * factor


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_one_replica_s_overflow_skips_the_update_on_all(precision):
    """Loss and state are finite everywhere; a good step comes before and after.

    In half precision the average is in half too.
    """
    step = compiled_step(policy(precision).compute_dtype)
    carry, batch = spread(tiny.batch(ROWS), precision)
    before, carry, _ = step(start(precision), carry, batch)
    bad = batch._replace(tokens=batch.tokens.at[2, 0, 0].set(POISON))
    after, carry, metrics = step(before, carry, bad)
    assert_untouched(before, after, metrics)
    assert not np.isfinite(metrics.grad_norm)
    assert (metrics.rows_zeroed, metrics.predicted) == (0, ROWS * 6)
    halved = 2 if precision == "fp16" else 1
    assert after.loss_scale.scale == before.loss_scale.scale / halved
    after, _, metrics = step(after, carry, batch)
    assert (metrics.skipped, metrics.updates) == (0, 2)


@pytest.mark.parametrize("growth, backoff", [(2.0, 0.5), (4.0, 0.25), (1.0, 1.0)])
def test_the_loss_scale_moves_as_flax_s_does(growth, backoff):
    ours = flax = DynamicScale(
        growth_factor=growth,
        backoff_factor=backoff,
        growth_interval=3,
        fin_steps=jnp.int32(0),
        scale=jnp.float32(16.0),
        minimum_scale=2.0,
    )
    rng, scales = np.random.default_rng(0), set()
    pattern = [True] * 9 + [False] * 6 + list(rng.random(60) < 0.8)
    for finite in pattern:
        factor = 1.0 if finite else np.inf
        flax, *_ = flax.value_and_grad(lambda w, f=factor: w * f)(jnp.float32(1.0))
        ours = next_loss_scale(ours, jnp.array(finite))
        assert (ours.scale, ours.fin_steps) == (flax.scale, flax.fin_steps)
        scales.add(float(ours.scale))
    assert len(scales) > (3 if growth > 1 else 0)
