"""Named dtype policies and the loss scale that goes with each."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax.training.dynamic_scale import DynamicScale

from sdjax.cell import dot
from sdjax.errors import InputError


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
    """Look a precision up by name.

    Raises:
        InputError: there is no such precision.
    """
    if name not in POLICIES:
        raise InputError(f"precision {name!r} does not exist: use {list(POLICIES)}")
    return POLICIES[name]


def loss_scale(name: str, *, initial: float, growth_interval: int) -> DynamicScale:
    """Return the loss scale of a precision, with array leaves so that it can be saved.

    Doubles after `growth_interval` finite updates in a row, halves on an overflow.
    Where the precision needs none the scale is 1 and both factors are 1, so one step
    function serves every precision.

    Reference: Micikevicius et al. 2018, "Mixed Precision Training", section 3.2.
    """
    scaled = policy(name).scales_loss
    return DynamicScale(
        growth_factor=2.0 if scaled else 1.0,
        backoff_factor=0.5 if scaled else 1.0,
        growth_interval=growth_interval,
        fin_steps=jnp.zeros((), jnp.int32),
        scale=jnp.float32(initial if scaled else 1.0),
        minimum_scale=1.0,
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def matmul(x: jax.Array, w: jax.Array, compute_dtype: jnp.dtype) -> jax.Array:
    """Multiply in the compute dtype, accumulate and return in float32.

    Autodiff of a half-precision product would round the weight gradient to half and
    multiply float32 by half going back; here every product, forward and backward, has
    both operands in the compute dtype and the weight gradient leaves in float32.

    Args:
        x: [..., in].
        w: float32[in, out].

    Returns:
        float32[..., out].
    """
    return dot(x.astype(compute_dtype), w.astype(compute_dtype))


def _matmul_forward(x, w, compute_dtype):
    return matmul(x, w, compute_dtype), (x, w)


def _matmul_backward(compute_dtype, saved, gradient):
    x, w = (a.astype(compute_dtype) for a in saved)
    gradient = gradient.astype(compute_dtype)
    rows = x.reshape(-1, x.shape[-1]).T
    weight_gradient = dot(rows, gradient.reshape(-1, gradient.shape[-1]))
    return dot(gradient, w.T).astype(saved[0].dtype), weight_gradient


matmul.defvjp(_matmul_forward, _matmul_backward)
