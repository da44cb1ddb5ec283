"""A training step over all local devices, its parameters on them or on the host.

With the parameters on the host the devices hold a copy of them in the compute dtype. A
step on the devices gives the gradient in the effective weights; the float32 parameters,
Adam's moments and the update stay on the host. Both halves are those of `train_step`,
which is the same with the two in one program.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sdjax.data.windows import Batch
from sdjax.errors import InputError
from sdjax.model.cell import RecurrentState
from sdjax.model.devices import AXIS, replicate, split_rows
from sdjax.model.language_model import LanguageModel, working_copy
from sdjax.training.step import (
    StepMetrics,
    TrainState,
    gradient_step,
    train_step,
    update_step,
)


def parallel_train_step(
    devices: list[jax.Device] | None = None,
    all_reduce_dtype: jnp.dtype = jnp.float32,
) -> Callable:
    """Return `train_step` over devices, its state and carry donated.

    Args:
        devices: of this process; None for all, those of other processes included.
        all_reduce_dtype: in which their gradients are averaged.
    """
    return jax.pmap(
        partial(train_step, all_reduce_dtype=all_reduce_dtype),
        axis_name=AXIS,
        in_axes=(None, 0, 0),
        out_axes=(None, 0, None),
        donate_argnums=(0, 1),
        devices=devices,
    )


def split_batch(batch: Batch, devices: int) -> Batch:
    """Give each device its rows of a window."""
    return Batch(*(split_rows(x, devices) for x in batch))


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
    model: LanguageModel,
    all_reduce_dtype: jnp.dtype = jnp.float32,
    devices: list[jax.Device] | None = None,
) -> Callable:
    """Return the devices' half of a step, a function of weights, scale, carry, batch.

    The weights are a `working_copy`, whose memory the gradient takes over where it has
    the same dtypes; the carry is donated too. `devices` as for `parallel_train_step`.
    """
    apply_fn = model.clone(use_weight_norm=False).apply

    def gradients(weights, scale, carry, batch):
        weights = jax.tree.map(lambda w: w.astype(jnp.float32), weights)
        return gradient_step(apply_fn, weights, scale, carry, batch, all_reduce_dtype)

    return jax.pmap(
        gradients,
        axis_name=AXIS,
        in_axes=(None, None, 0, 0),
        out_axes=(None, 0, None),
        donate_argnums=(0, 2) if all_reduce_dtype == model.compute_dtype else 2,
        devices=devices,
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
    lower = jax.jit(partial(working_copy, compute_dtype=model.compute_dtype))
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
    model: LanguageModel,
    master_params: str,
    all_reduce_dtype: str,
    devices: Sequence[jax.Device],
) -> Placement:
    """Return a placement by name.

    Args:
        master_params: "device" or "host".
        all_reduce_dtype: "fp32", or "compute" for that of the model's products.
        devices: of this process, those that hold rows.
    """
    dtype = model.compute_dtype if all_reduce_dtype == "compute" else jnp.float32
    devices = list(devices)
    if master_params == "host":
        return Placement(host_device(), to_host, host_train_step(model, devices, dtype))
    place = partial(replicate, devices=devices)
    # Of several processes the step spans the devices of all.
    alone = devices if jax.process_count() == 1 else None
    return Placement(devices[0], place, parallel_train_step(alone, dtype))
