"""Dtype policies, the product with its own gradient, the loss scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdjax.errors import InputError
from sdjax.precision import POLICIES, loss_scale, matmul, policy

KINDS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def operands(x_dtype=jnp.float32):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(5, 3, 16)), x_dtype)
    w = jnp.asarray(rng.normal(0, 0.25, (16, 7)), jnp.float32)
    gradient = jnp.asarray(rng.normal(size=(5, 3, 7)), jnp.float32)
    return x, w, gradient


def plain(x, w):
    return jnp.einsum("tbi,io->tbo", x, w)


@pytest.mark.parametrize("precision", POLICIES)
def test_the_product_and_its_gradients_match_float32_autodiff(precision, tolerances):
    dtype = policy(precision).compute_dtype
    x, w, gradient = operands(dtype)
    product, pullback = jax.vjp(lambda x, w: matmul(x, w, dtype), x, w)
    # The oracle sees the same rounded operands, and computes in float32.
    rounded = x.astype(jnp.float32), w.astype(dtype).astype(jnp.float32)
    expected, expected_pullback = jax.vjp(plain, *rounded)
    rounded_gradient = gradient.astype(dtype).astype(jnp.float32)
    expected_dx, expected_dw = expected_pullback(rounded_gradient)
    dx, dw = pullback(gradient)
    np.testing.assert_allclose(product, expected, **tolerances["float32"])
    np.testing.assert_allclose(dw, expected_dw, **tolerances["float32"])
    np.testing.assert_allclose(
        dx.astype(jnp.float32), expected_dx, **tolerances[KINDS[precision]]
    )


@pytest.mark.parametrize("precision", POLICIES)
def test_product_and_weight_gradient_are_float32_and_the_input_gradient_is_the_inputs(
    precision,
):
    dtype = policy(precision).compute_dtype
    x, w, gradient = operands(dtype)
    product, pullback = jax.vjp(lambda x, w: matmul(x, w, dtype), x, w)
    dx, dw = pullback(gradient)
    assert product.dtype == dw.dtype == jnp.float32
    assert dx.dtype == dtype


def test_the_weight_gradient_is_not_rounded_to_half():
    """Autodiff of a half product would round the sum; here it keeps float32 bits."""
    x, w, gradient = operands(jnp.float16)
    _, pullback = jax.vjp(lambda w: matmul(x, w, jnp.dtype(jnp.float16)), w)
    (dw,) = pullback(gradient)
    assert (dw.astype(jnp.float16).astype(jnp.float32) != dw).any()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_loss_scale_does_nothing_where_it_is_not_needed(precision):
    scale = loss_scale(precision, initial=2.0**15, growth_interval=1)
    assert scale.scale == 1
    for bad in (0.0, np.inf):  # a finite gradient, then one that is not
        gradient = scale.value_and_grad(lambda w, bad=bad: w * (3.0 + bad))
        scale, finite, _, value = gradient(jnp.float32(2.0))
        assert scale.scale == 1
        assert bool(finite) == (bad == 0)
    assert value == np.inf


def test_the_loss_scale_of_fp16_doubles_after_the_interval_and_halves_on_overflow():
    scale = loss_scale("fp16", initial=8.0, growth_interval=2)
    scales = []
    for factor in (3.0, 3.0, 3.0, 3.0, np.inf, np.inf):
        gradient = scale.value_and_grad(lambda w, factor=factor: w * factor)
        scale, _, _, value = gradient(jnp.float32(2.0))
        assert value == factor  # unscaled
        scales.append(float(scale.scale))
    assert scales == [8, 8, 16, 16, 8, 4]


def test_the_loss_scale_never_falls_below_one():
    scale = loss_scale("fp16", initial=2.0, growth_interval=100)
    for _ in range(3):
        scale, *_ = scale.value_and_grad(lambda w: w * np.inf)(jnp.float32(1.0))
    assert scale.scale == 1


def test_the_loss_scale_has_array_leaves_that_a_checkpoint_can_hold():
    leaves = jax.tree.leaves(loss_scale("fp16", initial=8.0, growth_interval=2))
    assert [(x.shape, x.dtype) for x in leaves] == [
        ((), jnp.dtype("int32")),
        ((), jnp.dtype("float32")),
    ]


def test_a_precision_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(InputError, match="'fp64' does not exist.*fp32.*bf16.*fp16"):
        policy("fp64")
