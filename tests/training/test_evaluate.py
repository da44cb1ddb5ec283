"""Bits per character of a split: every byte, state carried, any number of devices."""

import jax
import numpy as np
import optax
import pytest
import tiny

from sdjax.data.windows import Windows
from sdjax.training.evaluate import evaluator
from sdjax.training.parallel import split_batch

SIZE = 83
SHARD = np.random.default_rng(0).integers(97, 105, SIZE, dtype=np.uint8)


def windows_of(batch_size, window_size, *shards):
    return Windows(
        tiny.fake_corpus(*(shards or (SHARD,)), split="valid"),
        "valid",
        batch_size=batch_size,
        window_size=window_size,
        shuffle=False,
    )


def test_bits_per_character_are_those_of_one_pass_over_the_shard(model, params):
    """One row, windows of 7: state carried, the last window padded."""
    out = model.apply(
        {"params": params}, SHARD[:-1, None], model.zero_state(1), np.array([True])
    )
    nats = optax.softmax_cross_entropy_with_integer_labels(
        out["logits"][:, 0], SHARD[1:].astype(np.int32)
    )
    expected = float(nats.sum()) / (SIZE - 1) / np.log(2)
    got = evaluator(model, windows_of(1, 7), 1)(params)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_evaluating_does_not_depend_on_the_number_of_devices(model, params):
    windows, bits = windows_of(8, 5), []
    for count in (1, 8):
        devices = jax.local_devices()[:count]
        bits.append(evaluator(model, windows, 8, devices)(params))
    np.testing.assert_allclose(bits[0], bits[1], rtol=1e-5)


def test_evaluating_twice_gives_the_same_and_traces_once(model, params, monkeypatch):
    import sdjax.training.evaluate as module

    traces, step = [], module.eval_step

    def noted(*args):
        traces.append(None)
        return step(*args)

    monkeypatch.setattr(module, "eval_step", noted)
    evaluate = evaluator(model, windows_of(2, 8, SHARD, SHARD[::-1]), 2)
    assert evaluate(params) == evaluate(params)
    assert len(traces) == 1


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_row_g_is_the_same_bytes_on_any_number_of_devices(devices):
    batch = windows_of(8, 5)[1]
    spread = split_batch(batch, devices)
    assert spread.tokens.shape == (devices, 6, 8 // devices)
    for got, expected in zip(spread, tiny.on_devices(batch, devices), strict=True):
        np.testing.assert_array_equal(got, expected)
