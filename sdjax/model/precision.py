"""Named dtype policies and the loss scale that goes with each."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax.training.dynamic_scale import DynamicScale

from sdjax.errors import InputError
from sdjax.model.layout import Layout, dot, times_transposed


class Policy(NamedTuple):
    """What a precision means; everything not named here is float32.

    compute_dtype: operands of matrix products and the hidden state between them.
    scales_loss: whether gradients need a loss scale to stay representable.
    """

    compute_dtype: jnp.dtype
    scales_loss: bool


POLICIES = {
    "fp32": Policy(jnp.dtype(jnp.float32), scales_loss=False),
    "bf16": Policy(jnp.dtype(jnp.bfloat16), scales_loss=False),
    "fp16": Policy(jnp.dtype(jnp.float16), scales_loss=True),
}


def policy(name: str) -> Policy:
    """Return the policy of a precision.

    Raises:
        InputError: there is no such precision.
    """
    if name not in POLICIES:
        raise InputError(f"precision {name!r} does not exist: use {list(POLICIES)}")
    return POLICIES[name]


MATMUL_PRECISIONS = ("tf32", "float32")


def set_matmul_precision(name: str) -> None:
    """Say how this process multiplies float32 on an accelerator from now on.

    "tf32" is what jax does if it is told nothing; "float32" asks for all bits. On a CPU
    products are float32 in either case, and nothing is set.

    Raises:
        InputError: there is no such precision of products.
    """
    if name not in MATMUL_PRECISIONS:
        raise InputError(
            f"matmul_precision {name!r} does not exist: use {list(MATMUL_PRECISIONS)}"
        )
    if name == "float32" and jax.default_backend() != "cpu":
        jax.config.update("jax_default_matmul_precision", "highest")


LOSS_SCALE_KINDS = ("dynamic", "static", "none")


def loss_scale(
    precision: str,
    *,
    kind: str = "dynamic",
    initial: float = 2.0**16,
    growth_interval: int = 2000,
    growth_factor: float = 2.0,
    backoff_factor: float = 0.5,
    floor: float = 1.0,
) -> DynamicScale:
    """Return the loss scale of a precision, with array leaves so that it can be saved.

    A static scale is a dynamic one whose factors are 1. No scaling is a static scale
    of 1. So one step function serves every kind.

    Args:
        precision: only "fp16" is scaled; bfloat16 has the exponent range of float32.
        kind: "dynamic"; "static", which keeps `initial`; or "none".
        initial: the first scale.
        growth_interval: number of consecutive finite updates before the scale grows.
        growth_factor: multiplies the scale after that many updates.
        backoff_factor: multiplies the scale after an overflow.
        floor: lower bound of the scale.

    Raises:
        InputError: a value is out of range.

    Reference: Micikevicius et al. 2018, "Mixed Precision Training", section 3.2; the
    defaults of interval and factors are those of NVIDIA's guide "Training with Mixed
    Precision" (2017), the first scale that of PyTorch's GradScaler.
    """
    if kind not in LOSS_SCALE_KINDS:
        raise InputError(
            f"loss scale of kind {kind!r} does not exist: use {list(LOSS_SCALE_KINDS)}"
        )
    if not 0 < floor <= initial < math.inf:
        raise InputError(
            f"loss scale from {initial} with a floor of {floor}: the floor must be"
            " above 0 and at most the first scale"
        )
    grows, falls = growth_factor >= 1, 0 < backoff_factor <= 1
    if not (growth_interval >= 1 and grows and falls):
        raise InputError(
            f"loss scale with growth_interval {growth_interval}, growth_factor"
            f" {growth_factor}, backoff_factor {backoff_factor}: the first two must be"
            " at least 1, and the last above 0 and at most 1"
        )
    scaled = policy(precision).scales_loss and kind != "none"
    moves = scaled and kind == "dynamic"
    return DynamicScale(
        growth_factor=growth_factor if moves else 1.0,
        backoff_factor=backoff_factor if moves else 1.0,
        growth_interval=growth_interval - 1,  # flax grows one update later
        fin_steps=jnp.zeros((), jnp.int32),
        scale=jnp.float32(initial if scaled else 1.0),
        minimum_scale=floor if moves else None,
    )


def resumed_loss_scale(
    saved: DynamicScale, first: DynamicScale, same_precision: bool
) -> DynamicScale:
    """Return the loss scale of a run that resumes from a checkpoint.

    A dynamic scale has adapted to the run, so its value is restored. A static scale, or
    any scale after a change of precision, is taken from the config.

    Args:
        saved: of the checkpoint, with the factors of `first`.
        first: of the config.
        same_precision: whether the checkpoint has the precision of the config.
    """
    if same_precision and (first.growth_factor, first.backoff_factor) != (1, 1):
        return saved
    return saved.replace(scale=first.scale)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def matmul(
    x: jax.Array, w: jax.Array, compute_dtype: jnp.dtype, layout: Layout
) -> jax.Array:
    """Multiply in the compute dtype, accumulate and return in float32.

    With plain autodiff of a half-precision product, the weight gradient would be
    rounded to half precision and the backward products would mix float32 and half.
    Here all products, forward and backward, have both operands in the compute dtype,
    and the weight gradient is returned in float32.

    Args:
        x: [..., in].
        w: float32[in, out].
        layout: of the loops that x comes from.

    Returns:
        float32[..., out].
    """
    return dot(x.astype(compute_dtype), w.astype(compute_dtype))


def _matmul_forward(x, w, compute_dtype, layout):
    return matmul(x, w, compute_dtype, layout), (x, w)


def _matmul_backward(compute_dtype, layout, saved, gradient):
    x, w = (a.astype(compute_dtype) for a in saved)
    gradient = gradient.astype(compute_dtype)
    rows = x.reshape(-1, x.shape[-1]).T
    weight_gradient = dot(rows, gradient.reshape(-1, gradient.shape[-1]))
    dtype = saved[0].dtype
    if layout.rounds_in_products:
        return times_transposed(gradient, w, dtype), weight_gradient
    return dot(gradient, w.T).astype(dtype), weight_gradient


matmul.defvjp(_matmul_forward, _matmul_backward)
