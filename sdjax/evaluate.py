"""Bits per character of a model on a split, over every byte, with state carried."""

import math
from collections.abc import Callable

import jax
import numpy as np
from tqdm import tqdm

from sdjax.metrics import bits_per_character
from sdjax.model import LanguageModel
from sdjax.recurrence import RecurrentState
from sdjax.step import AXIS, eval_step
from sdjax.windows import Batch, Windows


def split_over_devices(batch: Batch, devices: int) -> Batch:
    """Give each device its rows, [..., G] -> [D, ..., B]: row g = d * B + b."""
    size, rows = batch.tokens.shape
    tokens = batch.tokens.reshape(size, devices, rows // devices)
    return Batch(
        np.ascontiguousarray(tokens.swapaxes(0, 1)),
        batch.lengths.reshape(devices, -1),
        batch.reset.reshape(devices, -1),
    )


def zero_carry(model: LanguageModel, batch_size: int, devices: int) -> RecurrentState:
    """Return the carry at the start of a run, [D, B, H], on the host."""
    state = jax.device_get(model.zero_state(batch_size))
    return jax.tree.map(lambda x: x.reshape(devices, -1, x.shape[-1]), state)


def evaluator(
    model: LanguageModel, windows: Windows, batch_size: int
) -> Callable[[dict], float]:
    """Return a function from parameters to bits per character over all of `windows`.

    It is compiled once and uses as many local devices as divide the batch, so the
    result does not depend on how many there are.

    Args:
        model: the language model.
        windows: one epoch of it is read, in order.
        batch_size: rows of `windows`. Each row starts from a zero state, so more rows
            cost a few bytes of context each.
    """
    devices = math.gcd(batch_size, jax.local_device_count())

    def step(params, carry, batch):
        return eval_step(model, params, carry, batch)

    p_eval_step = jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0, 0),
        out_axes=(0, None),
        donate_argnums=1,
        devices=jax.local_devices()[:devices],
    )

    def evaluate(params: dict) -> float:
        # Replicated training parameters live on all devices; these may be fewer.
        params = jax.device_get(params)
        carry = zero_carry(model, batch_size, devices)
        sums = []
        for index in tqdm(range(len(windows)), "evaluate", leave=False, delay=2):
            batch = split_over_devices(windows[index], devices)
            carry, evaluation = p_eval_step(params, carry, batch)
            sums.append(evaluation)
        nats, predicted = zip(*jax.device_get(sums), strict=True)
        return bits_per_character(math.fsum(map(float, nats)), int(sum(predicted)))

    return evaluate
