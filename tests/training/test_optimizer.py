"""Learning-rate rule, schedule, and the chain of clipping and Adam."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sdjax.training.optimizer import optimizer, scaled_learning_rate, schedule


@pytest.mark.parametrize(
    ("rows", "expected"), [(128, 5e-4), (64, 2.5e-4), (8 * 128, 4e-3), (32768, 4e-3)]
)
def test_the_learning_rate_scales_with_the_batch_up_to_the_cap(rows, expected):
    assert scaled_learning_rate(5e-4, rows, 4e-3) == pytest.approx(expected)


def test_the_rate_decays_in_a_straight_line_to_zero():
    rate = schedule(2.0, 0, 10)
    expected = [2.0 - 0.2 * n for n in range(11)] + [0.0]
    np.testing.assert_allclose([rate(n) for n in range(12)], expected, atol=1e-6)


def test_the_rate_warms_up_to_the_peak_and_then_decays_to_zero():
    rate = schedule(2.0, 4, 12)
    assert rate(0) == 0
    np.testing.assert_allclose(rate(2), 1.0, rtol=1e-6)
    np.testing.assert_allclose(rate(4), 2.0, rtol=1e-6)
    np.testing.assert_allclose(rate(8), 1.0, rtol=1e-6)
    assert rate(12) == 0
    assert rate(99) == 0


def test_the_first_update_is_adams_on_the_clipped_gradient():
    """Adam's first step is lr * g / (|g| + eps): a large eps shows the size of g."""
    eps = 1.0
    tx = optimizer(lambda _: 0.5, clip_norm=1.0, b1=0.9, b2=0.999, eps=eps)
    params = {"a": jnp.zeros(2), "b": jnp.zeros(1)}
    grads = {"a": jnp.array([6.0, 0.0]), "b": jnp.array([-8.0])}
    updates, _ = tx.update(grads, tx.init(params), params)
    clipped = np.array([0.6, 0.0, -0.8])  # norm 10 cut to 1
    expected = -0.5 * clipped / (np.abs(clipped) + eps)
    got = np.concatenate([updates["a"], updates["b"]])
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_a_gradient_below_the_limit_is_left_alone():
    tx = optimizer(lambda _: 0.5, clip_norm=1.0, b1=0.9, b2=0.999, eps=1.0)
    grads = {"a": jnp.array([0.3])}
    updates, _ = tx.update(grads, tx.init(grads), grads)
    np.testing.assert_allclose(updates["a"], [-0.5 * 0.3 / 1.3], rtol=1e-5)


def test_the_schedule_follows_the_optimizers_own_count():
    tx = optimizer(schedule(1.0, 0, 2), clip_norm=1.0, b1=0.9, b2=0.999, eps=1e-8)
    params = {"a": jnp.zeros(1)}
    state, sizes = tx.init(params), []
    for _ in range(3):
        updates, state = tx.update({"a": jnp.ones(1)}, state, params)
        sizes.append(float(optax.tree.norm(updates)))
    np.testing.assert_allclose(sizes, [1.0, 0.5, 0.0], atol=1e-5)
