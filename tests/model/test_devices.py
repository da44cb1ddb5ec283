"""Row d * B + b of a batch is row b of device d, in both directions."""

import jax
import numpy as np
import pytest
import tiny

from sdjax.data.windows import Batch
from sdjax.model.devices import devices_for, replicate, split_rows, spread, zero_carry
from sdjax.training.parallel import split_batch


@pytest.mark.parametrize(
    "rows, count", [(64, 8), (8, 8), (12, 4), (6, 2), (7, 1), (1, 1)]
)
def test_as_many_devices_as_share_the_rows_evenly(rows, count):
    assert devices_for(rows) == jax.local_devices()[:count]


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_row_g_is_on_device_g_over_b(devices):
    rows = np.arange(3 * 8).reshape(3, 8)  # [T, G]
    split = split_rows(rows, devices)
    per_device = 8 // devices
    assert split.shape == (devices, 3, per_device)
    assert split.flags.c_contiguous
    for g in range(8):
        np.testing.assert_array_equal(
            split[g // per_device, :, g % per_device], rows[:, g]
        )


def test_a_vector_of_rows_is_split_too():
    assert split_rows(np.arange(6), 3).tolist() == [[0, 1], [2, 3], [4, 5]]


def test_every_part_of_a_batch_is_split_alike():
    batch = tiny.batch(8, size=5, lengths=np.arange(8) % 5)
    split = split_batch(batch, 4)
    assert isinstance(split, Batch)
    assert split.tokens.shape == (4, 6, 2) and split.tokens.dtype == np.uint8
    assert split.lengths.tolist() == [[0, 1], [2, 3], [4, 0], [1, 2]]
    assert split.reset.tolist() == [[True, False]] + [[False, False]] * 3


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_zero_carry_lies_where_the_step_leaves_it(precision):
    model = tiny.model(precision)
    carry = zero_carry(model, 6, 2)
    like = model.zero_state(6)
    for part, whole in zip(carry, like, strict=True):
        assert part.shape == (2, 3, tiny.HIDDEN) and part.dtype == whole.dtype
        assert not part.any()
        assert part.devices() == set(jax.local_devices()[:2])
    assert carry.cell.dtype == np.float32


def test_pmap_takes_what_was_put_where_it_wants_it_without_a_copy():
    devices = jax.local_devices()[:4]
    weights = replicate({"w": np.arange(3.0, dtype=np.float32)}, devices)
    rows = spread(np.arange(8.0, dtype=np.float32).reshape(4, 2), devices)
    assert (
        weights["w"].is_fully_replicated and len(weights["w"].sharding.device_set) == 4
    )
    assert [s.data.shape for s in rows.addressable_shards] == [(1, 2)] * 4
    doubled = jax.pmap(
        lambda w, x: x * w["w"].sum(), in_axes=(None, 0), devices=devices
    )(weights, rows)
    np.testing.assert_array_equal(doubled, 3.0 * np.arange(8).reshape(4, 2))
