"""A text's features depend on that text alone, whatever it is read with."""

from functools import cache

import jax
import numpy as np
import pytest
import tiny

from sdjax import devices
from sdjax.errors import InputError
from sdjax.features import TextFeaturizer
from sdjax.model import init_params
from sdjax.text import Normalisation

ROWS, CHUNK = 16, 16  # two rows on each of the eight devices
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


def featurizer(batch_size=ROWS, chunk_size=CHUNK, precision="fp32") -> TextFeaturizer:
    return TextFeaturizer(
        tiny.model(precision),
        params(),
        Normalisation(),
        batch_size=batch_size,
        chunk_size=chunk_size,
    )


@cache
def together() -> np.ndarray:
    """The features of all texts, read together."""
    return featurizer().transform(TEXTS)


def encoded_directly(text: str) -> np.ndarray:
    """The cell after one text, by the model itself, without padding or chunks."""
    data = np.frombuffer(Normalisation().encode(text), np.uint8)
    model = tiny.model()
    state = model.apply(
        {"params": params()},
        data[:, None],
        model.zero_state(1),
        np.array([len(data)], np.int32),
        method="encode",
    )
    return np.asarray(state.cell)[0]


def test_features_are_a_row_of_float32_for_each_text():
    features = together()
    assert features.shape == (len(TEXTS), tiny.HIDDEN)
    assert features.dtype == np.float32
    assert len(np.unique(features, axis=0)) == len(TEXTS)


def test_order_of_the_texts_does_not_matter():
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = featurizer().transform([TEXTS[i] for i in order])
    np.testing.assert_array_equal(shuffled, together()[order])


@pytest.mark.parametrize("row", [0, 3, 4, 12])
def test_batch_mates_do_not_matter(row):
    """Alone, the text shares its batch with empty rows only."""
    alone = featurizer().transform([TEXTS[row]])
    np.testing.assert_array_equal(alone[0], together()[row])


def test_longer_batch_mates_do_not_matter():
    """The rows' states stand still through the chunks that only LONG fills."""
    beside = featurizer().transform([*TEXTS[:8], LONG])
    np.testing.assert_array_equal(beside[:8], together()[:8])


def test_chunks_do_not_matter():
    texts = [*TEXTS[:3], LONG]
    at_once = featurizer(chunk_size=512).transform(texts)
    np.testing.assert_array_equal(featurizer().transform(texts), at_once)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 64])
def test_batch_size_does_not_matter(batch_size):
    """Not bitwise: products of another shape are summed in another order."""
    other = featurizer(batch_size).transform(TEXTS)
    np.testing.assert_allclose(other, together(), rtol=0, atol=1e-6)


def test_devices_do_not_matter(monkeypatch):
    """As many rows per device on eight as on one: bitwise."""
    eight = featurizer()
    assert len(eight._devices) == 8
    monkeypatch.setattr(devices.jax, "local_device_count", lambda: 1)
    one = featurizer(ROWS // 8)
    assert len(one._devices) == 1
    np.testing.assert_array_equal(one.transform(TEXTS), eight.transform(TEXTS))
    same_batch = featurizer().transform(TEXTS)
    np.testing.assert_allclose(same_batch, together(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("text", ["", TEXTS[3], LONG])
def test_features_are_what_the_model_says(text, tolerances):
    features = featurizer().transform([text])[0]
    np.testing.assert_allclose(
        features, encoded_directly(text), **tolerances["float32"]
    )


@pytest.mark.parametrize("text", ["", TEXTS[3], LONG])
def test_a_trace_ends_in_the_features(text, tolerances):
    trace = featurizer().trace(text)
    assert trace.shape == (len(Normalisation().encode(text)), tiny.HIDDEN)
    features = featurizer().transform([text])[0]
    np.testing.assert_allclose(trace[-1], features, **tolerances["float32"])


def test_a_trace_of_a_prefix_is_a_prefix_of_the_trace():
    """A framed text ends in a blank, as does the prefix that ends in one."""
    whole, prefix = featurizer().trace(LONG), featurizer().trace("a long review")
    np.testing.assert_array_equal(prefix, whole[: len(prefix)])


def test_a_trace_keeps_the_units_that_are_asked_for_in_their_order():
    trace = featurizer().trace(TEXTS[3])
    chosen = featurizer().trace(TEXTS[3], [5, 0, 5])
    np.testing.assert_array_equal(chosen, trace[:, [5, 0, 5]])
    assert featurizer().trace(TEXTS[3], []).shape == (len(trace), 0)


@pytest.mark.parametrize("unit", [-1, tiny.HIDDEN])
def test_a_unit_that_does_not_exist(unit):
    with pytest.raises(InputError, match=f"unit {unit} .* model's 0..7"):
        featurizer().trace("a", [0, unit])


def test_no_texts():
    assert featurizer().transform([]).shape == (0, tiny.HIDDEN)


def test_texts_are_normalised_as_in_training():
    tagged, plain = featurizer(), featurizer()
    tagged.normalisation = Normalisation(strip_tags=True)
    given = tagged.transform(["so <b>good</b>"])
    assert not np.array_equal(given, plain.transform(["so <b>good</b>"]))
    np.testing.assert_array_equal(
        plain.transform(["a &lt; b\nc"]), plain.transform(["  a < b c "])
    )


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_another_precision_gives_nearly_the_same_in_float32(precision, tolerances):
    features = featurizer(precision=precision).transform(TEXTS)
    assert features.dtype == np.float32 and not np.array_equal(features, together())
    name = {"bf16": "bfloat16", "fp16": "float16"}[precision]
    np.testing.assert_allclose(features, together(), **tolerances[name])


def test_every_instance_of_a_model_shares_one_compiled_encoder():
    assert featurizer()._encode is featurizer()._encode
