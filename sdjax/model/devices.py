"""How rows are spread over the local devices: row d * B + b is row b of device d."""

import math
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sdjax.bounds import check_memory
from sdjax.model.cell import RecurrentState
from sdjax.model.language_model import LanguageModel

AXIS = "batch"  # the name of the data-parallel axis


def steps_ahead(most: int) -> int:
    """Return how many steps may be dispatched before the oldest one is waited for.

    CPU devices run their programs on one pool of threads, and a collective holds a
    thread until all devices have reached it: with many programs under way none of them
    may get the threads it needs. Between processes programs may even start in another
    order, so there each one ends before the next.
    """
    if jax.default_backend() != "cpu":
        return most
    return min(most, 2) if jax.process_count() == 1 else 0


def devices_for(
    batch_size: int, devices: Sequence[jax.Device] | None = None
) -> list[jax.Device]:
    """Return as many of some devices as can share `batch_size` rows evenly.

    Args:
        devices: to choose from; None for all of this process.
    """
    devices = devices or jax.local_devices()
    return list(devices[: math.gcd(batch_size, len(devices))])


def split_rows(rows: np.ndarray, devices: int) -> np.ndarray:
    """Give each device its rows: [..., G] -> [D, ..., B]."""
    split = rows.reshape(*rows.shape[:-1], devices, -1)
    return np.ascontiguousarray(np.moveaxis(split, -2, 0))


def check_rows(model: LanguageModel, batch_size: int) -> None:
    """Refuse a batch that the memory of this machine cannot hold.

    Raises:
        InputError: says how many rows there may be.
    """
    # The state before a step and after it, and the four gates, in float32.
    each = 4 * (4 * model.state_size + 4 * model.hidden_size)
    check_memory("rows at once (the batch size)", batch_size, each)


def zero_carry(model: LanguageModel, batch_size: int, devices: int) -> RecurrentState:
    """Return the state at the start of a text, [D, B, H], on the first D devices.

    Raises:
        InputError: memory cannot hold so many rows.
    """
    check_rows(model, batch_size)
    state = jax.device_get(model.zero_state(batch_size))
    rows = jax.tree.map(lambda x: x.reshape(devices, -1, x.shape[-1]), state)
    return spread(rows, jax.local_devices()[:devices])


def replicate(tree, devices: list[jax.Device]):
    """Put one copy on each device, where pmap with `in_axes=None` leaves it."""
    return _put(tree, devices, PartitionSpec())


def spread(tree, devices: list[jax.Device]):
    """Put row d of [D, ...] on device d, where pmap with `in_axes=0` leaves it.

    An input that comes from the host first and from the step itself afterwards is
    compiled for twice.
    """
    return _put(tree, devices, PartitionSpec(AXIS))


def _put(tree, devices: list[jax.Device], spec: PartitionSpec):
    return jax.device_put(tree, NamedSharding(Mesh(np.array(devices), (AXIS,)), spec))
