"""Dtype policies, the product with a custom gradient, and the loss scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdjax.errors import InputError
from sdjax.model.layout import FEATURE_MAJOR, LAYOUTS
from sdjax.model.precision import (
    POLICIES,
    loss_scale,
    matmul,
    policy,
    resumed_loss_scale,
    set_matmul_precision,
)

KINDS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def operands(x_dtype=jnp.float32):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(5, 3, 16)), x_dtype)
    w = jnp.asarray(rng.normal(0, 0.25, (16, 7)), jnp.float32)
    gradient = jnp.asarray(rng.normal(size=(5, 3, 7)), jnp.float32)
    return x, w, gradient


def plain(x, w):
    return jnp.einsum("tbi,io->tbo", x, w)


@pytest.mark.numerics
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("precision", POLICIES)
def test_the_product_and_its_gradients_match_float32_autodiff(
    precision, layout, tolerances
):
    dtype = policy(precision).compute_dtype
    x, w, gradient = operands(dtype)
    product, pullback = jax.vjp(lambda x, w: matmul(x, w, dtype, layout), x, w)
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


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("precision", POLICIES)
def test_product_and_weight_gradient_are_float32_and_the_input_gradient_is_the_inputs(
    precision, layout
):
    dtype = policy(precision).compute_dtype
    x, w, gradient = operands(dtype)
    product, pullback = jax.vjp(lambda x, w: matmul(x, w, dtype, layout), x, w)
    dx, dw = pullback(gradient)
    assert product.dtype == dw.dtype == jnp.float32
    assert dx.dtype == dtype


def test_the_weight_gradient_is_not_rounded_to_half():
    """Plain autodiff of a half-precision product would round it."""
    x, w, gradient = operands(jnp.float16)
    dtype = jnp.dtype(jnp.float16)
    _, pullback = jax.vjp(lambda w: matmul(x, w, dtype, FEATURE_MAJOR), w)
    (dw,) = pullback(gradient)
    assert (dw.astype(jnp.float16).astype(jnp.float32) != dw).any()


def follow(scale, gradients) -> list[float]:
    """Return the scale after each gradient, and check that it is returned unscaled."""
    scales = []
    for factor in gradients:
        gradient = scale.value_and_grad(lambda w, factor=factor: w * factor)
        scale, finite, _, value = gradient(jnp.float32(2.0))
        assert value == factor
        assert bool(finite) == np.isfinite(factor)
        scales.append(float(scale.scale))
    return scales


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precisions_that_need_no_loss_scale_have_a_constant_scale_of_one(precision):
    scale = loss_scale(precision, initial=2.0**15, growth_interval=1)
    assert follow(scale, [3.0, np.inf, 3.0]) == [1, 1, 1]


def test_a_dynamic_loss_scale_grows_after_the_interval_and_falls_on_overflow():
    scale = loss_scale("fp16", initial=8.0, growth_interval=2)
    inf = np.inf
    gradients = [3.0, 3.0, 3.0, 3.0, inf, inf, 3.0, inf, 3.0, 3.0]
    assert follow(scale, gradients) == [8, 16, 16, 32, 16, 8, 8, 4, 4, 8]


def test_a_dynamic_loss_scale_uses_the_given_factors():
    scale = loss_scale(
        "fp16", initial=10.0, growth_interval=1, growth_factor=3.0, backoff_factor=0.1
    )
    scales = follow(scale, [3.0, np.inf])
    np.testing.assert_allclose(scales, [30, 3], rtol=1e-6)


def test_a_dynamic_loss_scale_never_falls_below_its_floor():
    scale = loss_scale("fp16", initial=8.0, floor=3.0)
    assert follow(scale, [np.inf] * 3) == [4, 3, 3]


@pytest.mark.parametrize(("kind", "size"), [("static", 128), ("none", 1)])
def test_a_loss_scale_that_is_not_dynamic_is_constant(kind, size):
    scale = loss_scale("fp16", kind=kind, initial=128.0, growth_interval=1)
    assert scale.scale == size
    assert follow(scale, [3.0, 3.0, np.inf]) == [size] * 3


def test_a_resumed_run_restores_a_dynamic_loss_scale():
    first = loss_scale("fp16", initial=64.0)
    saved = first.replace(scale=jnp.float32(4.0), fin_steps=jnp.int32(7))
    assert resumed_loss_scale(saved, first, same_precision=True) is saved


@pytest.mark.parametrize(
    ("first", "same_precision", "size"),
    [
        (loss_scale("fp16", initial=64.0), False, 64),
        (loss_scale("fp16", kind="static", initial=16.0), True, 16),
        (loss_scale("fp16", kind="none"), True, 1),
        (loss_scale("bf16"), False, 1),
    ],
    ids=["other precision", "now static", "now none", "now bf16"],
)
def test_a_resumed_run_takes_any_other_loss_scale_from_the_config(
    first, same_precision, size
):
    saved = first.replace(scale=jnp.float32(4.0))
    assert resumed_loss_scale(saved, first, same_precision).scale == size


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "gentle"}, "'gentle' does not exist.*dynamic.*static.*none"),
        ({"initial": 0.5}, "0.5 with a floor of 1.0"),
        ({"initial": np.inf}, "from inf"),
        ({"floor": 0.0}, "floor of 0.0"),
        ({"growth_interval": 0}, "growth_interval 0"),
        ({"growth_factor": 0.5}, "growth_factor 0.5"),
        ({"growth_factor": np.nan}, "growth_factor nan"),
        ({"backoff_factor": 2.0}, "backoff_factor 2.0"),
        ({"backoff_factor": 0.0}, "backoff_factor 0.0"),
    ],
    ids=str,
)
def test_a_loss_scale_out_of_range_is_refused(settings, words):
    with pytest.raises(InputError, match=words):
        loss_scale("fp32", **settings)


def test_the_loss_scale_has_array_leaves_that_a_checkpoint_can_hold():
    leaves = jax.tree.leaves(loss_scale("fp16", initial=8.0, growth_interval=2))
    assert [(x.shape, x.dtype) for x in leaves] == [
        ((), jnp.dtype("int32")),
        ((), jnp.dtype("float32")),
    ]


def test_an_unknown_precision_is_refused_naming_the_known_ones():
    with pytest.raises(InputError, match="'fp64' does not exist.*fp32.*bf16.*fp16"):
        policy("fp64")


@pytest.mark.parametrize(
    "backend, name, wanted",
    [
        ("gpu", "float32", ["highest"]),
        ("gpu", "tf32", []),
        ("cpu", "float32", []),
    ],
)
def test_all_bits_of_float32_are_asked_for_where_they_would_be_dropped(
    backend, name, wanted, monkeypatch
):
    asked = []
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jax.config, "update", lambda key, value: asked.append(value))
    set_matmul_precision(name)
    assert asked == wanted


def test_a_precision_of_products_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="matmul_precision 'tf64' does not exist: use"):
        set_matmul_precision("tf64")
