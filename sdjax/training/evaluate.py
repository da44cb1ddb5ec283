"""Bits per character of a model on a split, over every byte."""

import bz2
import gzip
import lzma
import math
from collections.abc import Callable, Sequence
from functools import partial

import jax
import numpy as np
from tqdm import tqdm

from sdjax.data.prefetch import Prefetch
from sdjax.data.windows import Batch, Windows
from sdjax.model.devices import AXIS, devices_for, replicate, steps_ahead, zero_carry
from sdjax.model.language_model import LanguageModel, working_copy
from sdjax.training.metrics import bits_per_character
from sdjax.training.parallel import split_batch
from sdjax.training.step import eval_step

_IN_FLIGHT = 64  # windows dispatched ahead of the one waited for


def evaluator(
    model: LanguageModel,
    windows: Windows,
    batch_size: int,
    devices: Sequence[jax.Device] | None = None,
) -> Callable[[dict], float]:
    """Return a function from parameters to bits per character over all of `windows`.

    Args:
        model, windows, batch_size, devices: as for `window_sums`.
    """
    sums = window_sums(model, windows, batch_size, devices)

    def evaluate(params: dict) -> float:
        nats, predicted = sums(params)
        return bits_per_character(math.fsum(nats), int(predicted.sum()))

    return evaluate


def window_sums(
    model: LanguageModel,
    windows: Windows,
    batch_size: int,
    devices: Sequence[jax.Device] | None = None,
) -> Callable[[dict], tuple[np.ndarray, np.ndarray]]:
    """Return a function from parameters to what each of `windows` gives.

    That is the nats of its bytes, float64[W], and how many there are, int64[W]. It is
    compiled once and uses as many local devices as divide the batch, so the
    result does not depend on how many there are. On several processes each does its own
    rows if the devices of all together divide the batch, otherwise each does all.

    Args:
        model: the language model.
        windows: one epoch of it is read, in order.
        batch_size: rows of `windows`. Each row of a shard starts from a zero state, so
            more rows cost a few bytes of context each.
        devices: to choose from; None for all of this process.
    """
    devices, own = devices_for(batch_size, devices), slice(None)
    everywhere = jax.process_count() > 1 and batch_size % jax.device_count() == 0
    if everywhere:
        devices = jax.local_devices()
        batch_size //= jax.process_count()
        begin = jax.process_index() * len(devices)
        own = slice(begin, begin + len(devices))
    quiet = jax.process_index() > 0
    count = jax.device_count() if everywhere else len(devices)

    folded = model.clone(use_weight_norm=False)
    lower = jax.jit(partial(working_copy, compute_dtype=model.compute_dtype))

    def step(weights, carry, batch):
        return eval_step(folded, weights, carry, batch)

    p_eval_step = jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0, 0),
        out_axes=(0, None),
        donate_argnums=1,
        devices=None if everywhere else devices,
    )

    def read(index: int) -> Batch:
        batch = split_batch(windows[index], count)
        return Batch(*(x[own] for x in batch))

    def evaluate(params: dict) -> tuple[np.ndarray, np.ndarray]:
        weights = replicate(lower(params), devices)
        carry = zero_carry(model, batch_size, len(devices))
        sums, ahead = [], steps_ahead(_IN_FLIGHT)
        bar = tqdm(
            total=len(windows), desc="evaluate", leave=False, delay=2, disable=quiet
        )
        with Prefetch(read, range(len(windows))) as batches, bar:
            for index, batch in enumerate(batches):
                carry, evaluation = p_eval_step(weights, carry, batch)
                sums.append(evaluation)
                if index >= ahead:  # bounds the batches that wait on the devices
                    sums[index - ahead] = jax.device_get(sums[index - ahead])
                bar.update()
        nats, predicted = zip(*jax.device_get(sums), strict=True)
        return np.array(nats, np.float64), np.array(predicted, np.int64)

    return evaluate


def bits_by_compressor(data: bytes) -> dict[str, float]:
    """Compress at the highest level; return bits per byte by compressor."""
    if not data:
        raise ValueError("there are no bytes to compress")
    compressed = {
        "gzip -9": gzip.compress(data, 9),
        "bzip2 -9": bz2.compress(data, 9),
        "xz -9": lzma.compress(data, preset=9),
    }
    return {name: 8 * len(out) / len(data) for name, out in compressed.items()}
