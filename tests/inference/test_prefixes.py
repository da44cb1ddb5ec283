"""A text that is being written: states at prefixes, and samples as they grow."""

import jax
import numpy as np
import pytest
import tiny

from sdjax.data.text import Normalisation
from sdjax.features.encoder import Encoder
from sdjax.inference.prefixes import AT_ONCE, PrefixReader, ReadyModel
from sdjax.inference.sampling import Sampling, generate
from sdjax.inference.streaming import stream
from sdjax.model.language_model import init_params

TEXTS = [
    b"\n I love it ",
    b"\n I loved it, and so did all the others who were there with us ",
    b"\n I loved it, but none of the others who were there with us ",
    b"\n I ",
    b"\n I loved it, but none of the others who were there with us ",
    b"x",
]


@pytest.fixture(scope="module", params=[1, 2], ids=["one layer", "two layers"])
def ready(request):
    model = tiny.model(num_layers=request.param)
    params = init_params(model, jax.random.key(1))
    return ReadyModel.of(model, params), params


def test_a_text_that_changed_has_the_states_of_one_read_from_its_start(ready):
    reader = PrefixReader(ready[0])
    for text in TEXTS:
        found, whole = reader.read(text), PrefixReader(ready[0]).read(text)
        for a, b in zip(found[1:], whole[1:], strict=True):
            np.testing.assert_array_equal(a, b)


def test_only_what_changed_is_read(ready):
    reader, counts = PrefixReader(ready[0]), []
    for text in TEXTS:
        before = reader.bytes_read
        reader.read(text)
        counts.append(reader.bytes_read - before)
    first, second, third = TEXTS[:3]
    shared = len(b"\n I loved it, ")
    assert counts[0] == len(first)
    assert counts[1] == len(second) - len(b"\n I love")
    assert counts[2] == len(third) - shared
    assert counts[3:] == [0, len(third) - len(TEXTS[3]), 1]


def test_what_was_handed_out_does_not_change(ready):
    reader = PrefixReader(ready[0])
    first = reader.read(TEXTS[0])
    kept = first.cell.copy()
    reader.read(b"\n Another one altogether ")
    np.testing.assert_array_equal(first.cell, kept)


def test_a_reader_that_was_stopped_goes_on_where_it_was(ready):
    reader = PrefixReader(ready[0])
    assert reader.read(TEXTS[1], lambda done: done < AT_ONCE) is None
    assert reader.bytes_read == AT_ONCE
    found = reader.read(TEXTS[1])
    assert reader.bytes_read == len(TEXTS[1])
    np.testing.assert_array_equal(
        found.cell, PrefixReader(ready[0]).read(TEXTS[1]).cell
    )


def test_the_states_are_those_of_the_trace_and_the_bits_those_of_the_logits(
    ready, tolerances
):
    (model, *_), params = ready
    text = TEXTS[1]
    found = PrefixReader(ready[0]).read(text)
    encoder = Encoder(model, params, layers="all", devices=jax.local_devices()[:1])
    np.testing.assert_allclose(found.cell, encoder.trace(text), **tolerances["float32"])
    tokens = np.frombuffer(text, np.uint8)[:, None]
    out = model.apply(
        {"params": params}, tokens[:-1], model.zero_state(1), np.zeros(1, bool)
    )
    nats = -jax.nn.log_softmax(out["logits"][:, 0])[
        np.arange(len(text) - 1), tokens[1:, 0]
    ]
    np.testing.assert_allclose(
        found.bits[1:], nats / np.log(2), **tolerances["float32"]
    )
    assert found.bits[0] == 0


@pytest.mark.parametrize("sampling", [Sampling(40, 0.8, seed=3), Sampling(21, 0.0)])
def test_streamed_samples_are_those_of_generate(ready, sampling):
    (model, *_), params = ready
    hold = [{1: 2.0}, {1: -2.0}]
    arguments = {"prefix": "I love", "hold": hold, "sampling": sampling}
    seen = list(stream(ready[0], Normalisation(), **arguments))
    whole = generate(model, params, Normalisation(), **arguments)
    assert seen[0] == ["", ""]
    assert seen[-1] == [text for (text,) in whole]
    for before, after in zip(seen, seen[1:], strict=False):
        assert all(b.startswith(a) for a, b in zip(before, after, strict=True))
