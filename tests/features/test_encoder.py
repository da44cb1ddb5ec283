"""A text's features depend on that text alone, whatever it is read with."""

from functools import cache

import jax
import numpy as np
import pytest
import tiny

from sdjax.data.text import Normalisation
from sdjax.features.columns import POOLINGS
from sdjax.features.encoder import Encoder
from sdjax.model import pooling
from sdjax.model.language_model import init_params

CHUNK = 16
TEXTS = [
    "",
    "a",
    "Good &amp; cheap.",
    "caf\u00e9 \u6620\u753b \U0001f600",
    "exactly thirteen"[:13],  # with its frame as long as a chunk
    *("text " + "lorem ipsum " * (i % 7) + str(i) for i in range(20)),
]
LONG = "a long review of many words, " * 12


@cache
def params() -> dict:
    return init_params(tiny.model(), jax.random.key(0))


def encoder(precision="fp32", **options) -> Encoder:
    options = {"batch_size": 64, "chunk_size": CHUNK, **options}
    return Encoder(tiny.model(precision), params(), **options)


def encoded(texts) -> list[bytes]:
    return [Normalisation().encode(text) for text in texts]


def features(texts, **options) -> np.ndarray:
    return encoder(**options).encode(encoded(texts))


@cache
def together(kinds=("last",), of="cell") -> np.ndarray:
    """The features of all texts, read together."""
    return features(TEXTS, kinds=kinds, of=of)


def states_directly(text: str, of: str) -> np.ndarray:
    """The state after every byte of one text, byte by byte by the model itself."""
    model, states = tiny.model(), []
    step = jax.jit(lambda byte, state: model.apply(_variables(), byte, state, _ON))
    state = model.zero_state(1)
    for byte in Normalisation().encode(text):
        state = step(np.array([[byte]], np.uint8), state)["state"]
        states.append(np.asarray(getattr(state, of))[0])
    return np.stack(states)


_ON = np.zeros(1, bool)  # no row starts anew


def _variables() -> dict:
    return {"params": params()}


def test_features_are_a_row_of_float32_for_each_text():
    made = together()
    assert made.shape == (len(TEXTS), tiny.HIDDEN)
    assert made.dtype == np.float32
    assert len(np.unique(made, axis=0)) == len(TEXTS)


@pytest.mark.parametrize("kinds", [("last",), POOLINGS])
def test_order_of_the_texts_does_not_matter(kinds):
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = features([TEXTS[i] for i in order], kinds=kinds)
    np.testing.assert_array_equal(shuffled, together(kinds)[order])


@pytest.mark.parametrize("kinds", [("last",), POOLINGS])
@pytest.mark.parametrize("row", [0, 3, 4, 12])
def test_batch_mates_do_not_matter(row, kinds):
    """Alone, the text shares its batch with empty rows only."""
    alone = features([TEXTS[row]], kinds=kinds)
    np.testing.assert_array_equal(alone[0], together(kinds)[row])


@pytest.mark.parametrize("kinds", [("last",), POOLINGS])
def test_longer_batch_mates_do_not_matter(kinds):
    """The rows' states stand still through the chunks that only LONG fills."""
    beside = features([*TEXTS[:8], LONG], kinds=kinds)
    np.testing.assert_array_equal(beside[:8], together(kinds)[:8])


def test_chunks_do_not_matter(tolerances):
    texts = [*TEXTS[:3], LONG]
    at_once = features(texts, kinds=POOLINGS, chunk_size=512)
    chunked = features(texts, kinds=POOLINGS)
    np.testing.assert_array_equal(chunked[:, :8], at_once[:, :8])
    np.testing.assert_array_equal(chunked[:, 16:], at_once[:, 16:])
    np.testing.assert_allclose(chunked, at_once, **tolerances["float32"])  # sums


@pytest.mark.parametrize("kinds", [("last",), POOLINGS])
@pytest.mark.parametrize("batch_size", [1, 100, 1024, 1536])
def test_batch_size_does_not_matter(batch_size, kinds):
    other = features(TEXTS, batch_size=batch_size, kinds=kinds)
    np.testing.assert_array_equal(other, together(kinds))


def test_more_texts_than_a_batch_has_rows():
    texts = [f"{text} {i}" for i in range(21) for text in TEXTS]
    assert len(texts) > encoder()._rows == 512
    np.testing.assert_array_equal(features(texts)[:60], features(texts[:60]))


def test_devices_do_not_matter():
    eight = encoder()
    assert len(eight._devices) == 8
    one = encoder(devices=jax.local_devices()[:1])
    assert len(one._devices) == 1
    np.testing.assert_array_equal(
        one.encode(encoded(TEXTS)), eight.encode(encoded(TEXTS))
    )


@pytest.mark.parametrize("of", ["cell", "hidden"])
@pytest.mark.parametrize("text", ["", TEXTS[3], LONG])
def test_features_are_what_the_model_says(text, of, tolerances):
    states = states_directly(text, of)
    said = np.concatenate(
        [states[-1], states.mean(0, np.float64), states.max(0), states.min(0)]
    )
    made = features([text], kinds=POOLINGS, of=of)[0]
    np.testing.assert_allclose(made, said, **tolerances["float32"])


@pytest.mark.parametrize("of", ["cell", "hidden"])
def test_poolings_are_put_side_by_side_in_the_order_asked_for(of, tolerances):
    every = together(POOLINGS, of).reshape(len(TEXTS), 4, -1)
    # The last state alone is another compiled loop.
    np.testing.assert_allclose(together(of=of), every[:, 0], **tolerances["float32"])
    two = together(("min", "mean"), of).reshape(len(TEXTS), 2, -1)
    np.testing.assert_array_equal(two, every[:, [3, 1]])


@pytest.mark.parametrize("of", ["cell", "hidden"])
def test_a_pooling_may_name_its_state(of, tolerances):
    kinds = ("cell:mean", "hidden:max", "hidden:last", "cell:min", "last", "mean")
    mixed = features(TEXTS, of=of, kinds=kinds)
    for place, kind in enumerate(kinds):
        state, _, name = kind.rpartition(":")
        alone = features(TEXTS, of=state or of, kinds=(name,))
        part = mixed[:, place * tiny.HIDDEN :][:, : tiny.HIDDEN]
        np.testing.assert_allclose(part, alone, **tolerances["float32"])


def test_the_mean_of_a_long_text_loses_no_digits():
    """In float32 alone, a sum of some 100,000 values near 1 is off by 1e-4 of it."""
    values = np.random.default_rng(0).uniform(0.9, 1, (400, 256)).astype(np.float32)
    kept = pooling.start(("mean",), 1, 1)
    add = jax.jit(pooling._exact_sum)
    total, lost = kept.total[0, 0], kept.lost[0, 0]
    for chunk in values.sum(axis=1):
        total, lost = (add(total, chunk, lost)[key] for key in ("total", "lost"))
    exact = values.sum(axis=1).astype(np.float64).sum()
    assert abs(float(total) + float(lost) - exact) / exact < 1e-9


@pytest.mark.parametrize("of", ["cell", "hidden"])
@pytest.mark.parametrize("text", ["", TEXTS[3], LONG])
def test_a_trace_ends_in_the_features(text, of, tolerances):
    trace = encoder(of=of).trace(encoded([text])[0])
    assert trace.shape == (len(encoded([text])[0]), tiny.HIDDEN)
    assert trace.dtype == np.float32
    np.testing.assert_allclose(trace, states_directly(text, of), **tolerances["oracle"])
    np.testing.assert_allclose(
        trace[-1], features([text], of=of)[0], **tolerances["float32"]
    )


def test_a_trace_of_a_prefix_is_a_prefix_of_the_trace():
    """A framed text ends in a blank, as does the prefix that ends in one."""
    whole, prefix = map(encoder().trace, encoded([LONG, "a long review"]))
    np.testing.assert_array_equal(prefix, whole[: len(prefix)])


@pytest.mark.parametrize("kinds", [("last",), POOLINGS])
def test_no_texts(kinds):
    assert features([], kinds=kinds).shape == (0, tiny.HIDDEN * len(kinds))


def test_progress_counts_every_byte():
    read = []
    encoder().encode(encoded(TEXTS), read.append)
    assert sum(read) == sum(map(len, encoded(TEXTS)))


@pytest.mark.numerics
@pytest.mark.parametrize("kinds", [("last",), POOLINGS])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_another_precision_gives_nearly_the_same(precision, kinds, tolerances):
    made = features(TEXTS, precision=precision, kinds=kinds)
    assert made.dtype == np.float32 and not np.array_equal(made, together(kinds))
    name = {"bf16": "bfloat16", "fp16": "float16"}[precision]
    np.testing.assert_allclose(made, together(kinds), **tolerances[name])


def test_every_encoder_of_a_model_shares_one_compiled_function():
    assert encoder()._compiled is encoder(batch_size=128)._compiled
