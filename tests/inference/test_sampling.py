"""Sampling: valid UTF-8, samples independent of each other, held units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.inference import grammar
from sdjax.inference import sampling as module
from sdjax.inference.sampling import Sampling, generate
from sdjax.model.language_model import init_params


def write(model, params, **options):
    sampling = options.pop("sampling", None) or Sampling(length=24, whole_length=True)
    return generate(model, params, Normalisation(), sampling=sampling, **options)


def test_samples_of_an_untrained_model_are_valid_and_full(model, params):
    # All 256 bytes are about equally likely, so hardly any sample would decode without
    # the mask.
    (texts,) = write(model, params, samples=20)
    assert len(set(texts)) == 20
    assert all(len(text.encode()) == 24 for text in texts)
    assert any(len(text) < 24 for text in texts)  # characters of several bytes


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_character_that_does_not_fit_is_not_started(model, params, length):
    # This model strongly prefers four-byte characters.
    bias = jnp.zeros(256).at[0xF0].set(50.0)
    wants = params | {"output": params["output"] | {"bias": bias}}
    sampling = Sampling(length=length, whole_length=True)
    (texts,) = write(model, wants, samples=4, sampling=sampling)
    assert all(len(text.encode()) == length for text in texts)
    (texts,) = write(model, wants, sampling=Sampling(length=8, whole_length=True))
    assert len(texts[0]) == 2


def test_a_sample_does_not_depend_on_the_number_of_samples(model, params):
    (many,) = write(model, params, samples=7, batch_size=3)
    (few,) = write(model, params, samples=2)
    assert many[:2] == few
    (other,) = write(model, params, samples=2, sampling=Sampling(24, seed=1))
    assert other != few


def test_greedy_takes_the_most_probable_allowed_byte(model, params):
    sampling = Sampling(length=6, temperature=0, whole_length=True)
    (texts,) = write(model, params, samples=2, prefix="ab", sampling=sampling)
    read = b"\n ab"
    for _ in range(6):
        tokens = jnp.asarray(np.frombuffer(read, np.uint8))[:, None]
        state, reset = model.zero_state(1), jnp.ones(1, bool)
        logits = model.apply({"params": params}, tokens, state, reset)["logits"][-1, 0]
        # Only bytes that keep the text valid and still fit are allowed.
        order = np.argsort(-np.asarray(logits))
        fits = (b for b in order if _may_follow(read[4:], int(b), 6))
        read += bytes([next(fits)])
    assert texts == [read[4:].decode()] * 2


def _may_follow(data: bytes, byte: int, length: int) -> bool:
    state = grammar.START
    for b in (*data, byte):
        state = grammar.NEXT[state, b]
    missing = grammar.MISSING[state]
    return state != grammar.INVALID and len(data) + 1 + missing <= length


def test_a_small_nucleus_is_greedy(model, params):
    greedy = write(model, params, sampling=Sampling(length=12, temperature=0))
    nucleus = write(model, params, sampling=Sampling(length=12, top_p=1e-6))
    assert nucleus == greedy


def test_the_nucleus_keeps_the_fewest_bytes_that_reach_top_p():
    logits = jnp.log(jnp.array([[0.5, 0.3, 0.15, 0.05], [0.05, 0.15, 0.3, 0.5]]))
    kept = module._nucleus(logits, jnp.float32(0.7)) > -jnp.inf
    assert kept.tolist() == [[True, True, False, False], [False, False, True, True]]
    assert (module._nucleus(logits, jnp.float32(0.99)) > -jnp.inf).all()


def test_a_review_ends_at_the_newline_without_its_frame(model, params):
    bias = jnp.full(256, -50.0).at[jnp.array([ord("a"), ord(" "), ord("\n")])].set(0.0)
    writes = params | {"output": params["output"] | {"bias": bias}}
    (texts,) = write(model, writes, samples=30, sampling=Sampling(length=30))
    assert all("\n" not in text for text in texts)
    assert any(0 < len(text) < 30 for text in texts)
    (whole,) = write(
        model, writes, samples=30, sampling=Sampling(30, whole_length=True)
    )
    assert all(len(text) == 30 for text in whole) and any("\n" in t for t in whole)
    assert all(
        w.startswith(t) or w[:1] == "\n" for t, w in zip(texts, whole, strict=True)
    )


def test_a_held_unit_determines_the_output(model, params):
    # Only unit 3 has output weights: it writes "+" above 0 and "-" below.
    kernel = jnp.zeros((8, 256)).at[3, ord("+")].set(1e4).at[3, ord("-")].set(-1e4)
    bias = jnp.full(256, -1e3).at[jnp.array([ord("+"), ord("-")])].set(0.0)
    speaks = params | {"output": {"kernel": kernel, "bias": bias}}
    hold = [{3: 4.0}, {3: -4.0}, {3: 4.0, 5: 1.0}, {}]
    up, down, both, _ = write(model, speaks, samples=3, hold=hold)
    assert up == both == ["+" * 24] * 3
    assert down == ["-" * 24] * 3
    # The unit is held during the prefix too, so it acts from the first byte on.
    (prefixed,) = write(model, speaks, prefix="abc", hold=[{3: -4.0}])
    assert prefixed == ["-" * 24]


def test_white_space_at_the_end_of_a_prefix_becomes_one_blank():
    def read(prefix):
        data, count = module.prefix_bytes(prefix, Normalisation())
        assert len(data) % 64 == 0 and not data[count:].any()
        return data[:count].tobytes()

    assert read("") == b"\n "
    assert read("I think") == b"\n I think"
    assert read("I think ") == b"\n I think "
    assert read("é\n") == "\n é ".encode()
    assert len(read("x" * 100)) == 102


@pytest.mark.parametrize(
    "settings",
    [
        {"length": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"top_p": float("nan")},
        {"seed": -1},
        {"seed": 2**32},
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(settings):
    with pytest.raises(InputError, match=f"{next(iter(settings)).replace('_', '.')}"):
        Sampling(**settings)


@pytest.mark.parametrize(
    ("hold", "words"),
    [
        ({8: 1.0}, "unit 8 .* 0..7"),
        ({-1: 1.0}, "unit -1"),
        ({0: float("nan")}, "unit 0=nan"),
        ({0: float("inf")}, "unit 0=inf"),
        ({0: 1e39}, "unit 0=1e"),
    ],
    ids=str,
)
def test_unknown_units_and_infinite_values_are_refused(model, params, hold, words):
    with pytest.raises(InputError, match=words):
        write(model, params, hold=[hold])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision(params, precision):
    (texts,) = write(tiny.model(precision), params, samples=2)
    assert all(len(text.encode()) == 24 for text in texts)


def test_plain_lstm():
    model = tiny.model(cell="lstm")
    (texts,) = write(model, init_params(model, jax.random.key(0)), samples=2)
    assert all(len(text.encode()) == 24 for text in texts)
