"""Master parameters in host memory: the devices hold a compute-dtype copy of them.

A step on the devices gives the gradient in the effective weights; the float32
parameters, Adam's moments and the update stay on the host. Both halves are those of
`train_step`, which is the same with the two in one program.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sdjax.cell import RecurrentState
from sdjax.data.windows import Batch
from sdjax.devices import parallel_train_step, replicate
from sdjax.errors import InputError
from sdjax.model import LanguageModel, working_copy
from sdjax.precision import policy
from sdjax.step import AXIS, StepMetrics, TrainState, gradient_step, update_step


def host_device() -> jax.Device:
    """Return the device that stands for this process's own memory and processors.

    On a machine without accelerators it is one of those that train.

    Raises:
        InputError: jax was told to leave it out.
    """
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise InputError(
            f"master_params 'host' needs jax's CPU backend beside the other, and"
            f" JAX_PLATFORMS is {jax.config.jax_platforms!r}: add ,cpu or unset it"
        ) from error


def to_host(tree):
    """Put arrays into this process's own memory, to compute on its processors."""
    return jax.device_put(tree, host_device())


def gradients_on_devices(
    model: LanguageModel, all_reduce_dtype: jnp.dtype = jnp.float32
) -> Callable:
    """Return the devices' half of a step, a function of weights, scale, carry, batch.

    The weights are a `working_copy`, whose memory the gradient takes over where it has
    the same dtypes; the carry is donated too.
    """
    apply_fn = model.clone(use_weight_norm=False).apply
    compute_dtype = policy(model.precision).compute_dtype

    def gradients(weights, scale, carry, batch):
        weights = jax.tree.map(lambda w: w.astype(jnp.float32), weights)
        return gradient_step(apply_fn, weights, scale, carry, batch, all_reduce_dtype)

    return jax.pmap(
        gradients,
        axis_name=AXIS,
        in_axes=(None, None, 0, 0),
        out_axes=(None, 0, None),
        donate_argnums=(0, 2) if all_reduce_dtype == compute_dtype else 2,
    )


def host_train_step(
    model: LanguageModel,
    devices: list[jax.Device],
    all_reduce_dtype: jnp.dtype = jnp.float32,
) -> Callable:
    """Return what `parallel_train_step` does for a state `to_host`.

    Like that it returns at once: copies and both halves wait for each other, not for
    the caller. Each of several processes updates parameters of its own.

    Args:
        devices: of this process, those that hold rows.
        all_reduce_dtype: in which gradients are averaged and come to the host.
    """
    compute_dtype = policy(model.precision).compute_dtype
    lower = jax.jit(partial(working_copy, compute_dtype=compute_dtype))
    gradients = gradients_on_devices(model, all_reduce_dtype)
    update = jax.jit(update_step, donate_argnums=0)

    def step(
        state: TrainState, carry: RecurrentState, batch: Batch
    ) -> tuple[TrainState, RecurrentState, StepMetrics]:
        given = replicate((lower(state.params), state.loss_scale.scale), devices)
        gradient, carry, sums = gradients(*given, carry, batch)
        # Every device has all of it; one brings it over.
        gradient = jax.tree.map(lambda g: g.addressable_data(0), gradient)
        state, metrics = update(state, to_host(gradient))
        return state, carry, StepMetrics(**sums._asdict(), **metrics._asdict())

    return step


class Placement(NamedTuple):
    """Where parameters and moments are kept, and the step that finds them there."""

    made_on: jax.Device
    place: Callable[[TrainState], TrainState]
    train_step: Callable  # (state, carry, batch) -> state, carry, metrics


def placement(
    model: LanguageModel, master_params: str, all_reduce_dtype: str
) -> Placement:
    """Return a placement by name, over all local devices.

    Args:
        master_params: "device" or "host".
        all_reduce_dtype: "fp32", or "compute" for that of the model's products.
    """
    compute = all_reduce_dtype == "compute"
    dtype = policy(model.precision if compute else "fp32").compute_dtype
    devices = jax.local_devices()[: jax.local_device_count()]
    if master_params == "host":
        return Placement(host_device(), to_host, host_train_step(model, devices, dtype))
    place = partial(replicate, devices=devices)
    return Placement(devices[0], place, parallel_train_step(all_reduce_dtype=dtype))
