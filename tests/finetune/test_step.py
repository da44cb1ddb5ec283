"""The fine-tuning step: gradient, data parallelism, skipped updates."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from sdjax.finetune.step import (
    Standard,
    head_loss,
    head_optimizer,
    head_step,
    scores_of,
)
from sdjax.model import recurrence
from sdjax.model.cell import RecurrentState
from sdjax.model.devices import AXIS
from sdjax.model.language_model import init_params
from sdjax.model.precision import loss_scale
from sdjax.training.step import create_train_state

ROWS, BYTES, CLASSES = 8, 10, 3


@cache
def params() -> dict:
    random = np.random.default_rng(0)
    head = {
        "coef": jnp.float32(random.normal(size=(CLASSES, tiny.HIDDEN))),
        "intercept": jnp.zeros(CLASSES),
    }
    return {"body": init_params(tiny.model(), jax.random.key(0)), "head": head}


ADAM = head_optimizer(1e-2, 0.1, 0, 100)


def state(precision="fp32", *, tx=ADAM, initial=1024.0):
    scale = loss_scale(precision, initial=initial, growth_interval=100)
    return create_train_state(_model(precision), tx, scale, params())


_model = cache(tiny.model)


def standard():
    random = np.random.default_rng(1)
    mean = jnp.float32(random.normal(size=tiny.HIDDEN))
    return Standard(mean, jnp.full(tiny.HIDDEN, 0.5))


def batch(seed=0, weights=None):
    """Return carry, tokens, targets and weights of ROWS texts."""
    random = np.random.default_rng(seed)
    tokens = random.integers(97, 105, (BYTES, ROWS), np.uint8)
    targets = np.eye(CLASSES, dtype=np.float32)[random.integers(0, CLASSES, ROWS)]
    weights = np.ones(ROWS, np.float32) if weights is None else np.float32(weights)
    return tiny.carry(ROWS), tokens, targets, weights


def on_devices(parts, count):
    carry, tokens, targets, weights = parts
    return (
        jax.tree.map(lambda x: x.reshape(count, -1, x.shape[-1]), carry),
        jnp.stack(jnp.split(jnp.asarray(tokens), count, axis=1)),
        targets.reshape(count, -1, CLASSES),
        weights.reshape(count, -1),
    )


@cache
def compiled(link, lm_weight):
    """Compile the step under vmap, which, unlike pmap, checks that replicas agree."""
    step = jax.vmap(
        partial(head_step, link=link, lm_weight=lm_weight),
        in_axes=(None, None, 0, 0, 0, 0),
        out_axes=(None, None),
        axis_name=AXIS,
    )
    return jax.jit(step)


def take_step(start, parts, devices=1, link="softmax", lm_weight=0.5):
    return compiled(link, lm_weight)(start, standard(), *on_devices(parts, devices))


def plain_loss(params, carry, tokens, targets, weights, lm_weight):
    """Compute the same loss with a plain scan over the reference cell."""
    model = tiny.model()
    weights_of = model.apply({"params": params["body"]}, method="weights")
    x = params["body"]["embedding"]["embedding"][tokens.astype(int)]
    reset = jnp.zeros(ROWS, bool)
    hidden, end = recurrence.scan_reference(weights_of, x, carry, reset)
    scores = scores_of(params["head"], standard(), end.cell)
    head = optax.softmax_cross_entropy(scores, targets)
    output = params["body"]["output"]
    logits = hidden @ output["kernel"] + output["bias"][None, None]
    nats = optax.softmax_cross_entropy_with_integer_labels(
        logits[:-1], tokens[1:].astype(int)
    )
    live = weights / weights.sum()
    return (head * live).sum() + lm_weight * (nats.mean(axis=0) * live).sum()


def test_the_gradient_is_that_of_plain_autodiff(tolerances):
    parts = batch(weights=[1] * 6 + [0] * 2)
    start = state(tx=optax.sgd(1.0))
    after, metrics = take_step(start, parts)
    carry = RecurrentState(*map(jnp.asarray, parts[0]))
    rest = [jnp.asarray(x) for x in parts[1:]]
    grads = jax.jit(jax.grad(plain_loss))(start.params, carry, *rest, 0.5)
    expected = jax.tree.map(lambda p, g: p - g, start.params, grads)
    jax.tree.map(
        partial(np.testing.assert_allclose, **tolerances["float32"]),
        after.params,
        expected,
    )
    assert int(metrics.predicted) == 6 * (BYTES - 1)


@pytest.mark.parametrize("devices", [2, 8])
def test_the_number_of_devices_does_not_change_the_update(devices, tolerances):
    parts = batch(weights=[1] * 5 + [0] * 3)  # some devices hold only padding rows
    one, first = take_step(state(), parts)
    many, other = take_step(state(), parts, devices)
    close = partial(np.testing.assert_allclose, **tolerances["float32"])
    jax.tree.map(close, many.params, one.params)
    jax.tree.map(close, other, first)


def test_rows_of_weight_zero_do_not_change_the_update():
    parts = batch(weights=[1] * 6 + [0] * 2)
    tokens = parts[1].copy()
    tokens[:, 6:] = 33
    one, _ = take_step(state(), parts)
    other, _ = take_step(state(), (parts[0], tokens, *parts[2:]))
    for a, b in zip(*map(jax.tree.leaves, (one.params, other.params)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_the_body_has_its_own_learning_rate():
    # Adam's first update is its rate in every coordinate.
    start = state()
    after, _ = take_step(start, batch())
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), after.params, start.params)
    np.testing.assert_allclose(moved["head"]["coef"], 1e-2, rtol=1e-2)
    np.testing.assert_allclose(moved["body"]["recurrent"]["wh"], 1e-3, rtol=1e-2)


def test_an_overflow_skips_the_update_and_halves_the_scale():
    start = state("fp16", initial=2.0**40)
    after, metrics = take_step(start, batch())
    assert int(metrics.skipped) == 1
    tiny.assert_trees_equal(after.params, start.params)
    tiny.assert_trees_equal(after.opt_state, start.opt_state)
    assert float(after.loss_scale.scale) == 2.0**39
    after, metrics = take_step(state("fp16"), batch())
    assert int(metrics.skipped) == 0 and np.isfinite(metrics.loss)


def test_a_few_steps_learn_the_labels():
    now, losses = state(), []
    for _ in range(60):
        now, metrics = take_step(now, batch())
        losses.append(float(metrics.loss))
    assert losses[-1] < 0.5 * losses[0]


def test_the_loss_of_several_labels_is_the_sum_over_them():
    scores = jnp.array([[0.0, 2.0], [-1.0, 0.0]])
    targets = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    expected = [np.log(2) + np.log1p(np.e**2), np.log1p(1 / np.e) + np.log(2)]
    np.testing.assert_allclose(
        head_loss("sigmoid", scores, targets), expected, rtol=1e-6
    )
