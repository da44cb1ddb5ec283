"""States of many texts read together are those of each text alone."""

import jax
import numpy as np
import pytest
import tiny

from sdjax.features.encoder import Encoder
from sdjax.features.states import read_states
from sdjax.model.language_model import init_params

TEXTS = [
    b"\n a ",
    b"",
    b"\n " + b"long enough for three pieces " * 6,
    b"\n caf\xc3\xa9 ",
]


@pytest.mark.parametrize("units", [None, [3, 1, 12]])
def test_states_are_those_of_one_text_alone(units, tolerances):
    model = tiny.model(num_layers=2)
    params = init_params(model, jax.random.key(0))
    found = [np.full((len(t), 16 if units is None else 3), np.nan) for t in TEXTS]
    columns = None if units is None else np.array(units)
    options = {"of": "hidden", "layers": "all"}
    for piece in read_states(
        model, params, TEXTS, units=columns, batch_size=2, **options
    ):
        assert piece.states.shape[1] == 2
        for row, text in enumerate(piece.texts):
            start, end = piece.offsets[row], len(TEXTS[text])
            if text >= 0:
                states = piece.states[: end - start, row]
                found[text][start : start + len(states)] = states
    alone = Encoder(model, params, **options)
    for text, states in zip(TEXTS, found, strict=True):
        if text:
            expected = alone.trace(text)[:, slice(None) if units is None else units]
            np.testing.assert_allclose(states, expected, **tolerances["float32"])
