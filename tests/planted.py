"""A model with a unit that is set by hand: it is positive inside quotes only."""

from functools import cache
from pathlib import Path

import jax
import numpy as np
import tiny

from sdjax.checkpoints.load import Loaded
from sdjax.model.language_model import init_params

UNIT, LAYERS = 5, 2  # of layer 0
OTHERS = 2 * tiny.HIDDEN  # units in all


def model():
    return tiny.model(use_weight_norm=False, num_layers=LAYERS)


@cache
def params() -> dict:
    """Random parameters, but for the unit.

    At a quote it forgets and takes the other sign than its hidden state has; at all
    other characters it keeps what it holds.
    """
    made = jax.tree.map(np.array, init_params(model(), jax.random.key(1)))
    embedding = made["embedding"]["embedding"]
    embedding[:, 0], embedding[:, 1] = 0, 1  # a quote; always
    embedding[ord('"'), 0] = 1
    weights, width = made["recurrent"], tiny.HIDDEN
    i, f, o, u = (gate * width + UNIT for gate in range(4))
    for name in ("wx", "wh"):
        weights[name][:, [i, f, o, u]] = 0
    # What the unit reads of itself is its own hidden state.
    weights["wmx"][:, UNIT], weights["wmh"][:, UNIT] = 0, 0
    weights["wmx"][1, UNIT], weights["wmh"][UNIT, UNIT] = 1, 1
    weights["b"][[i, f, o, u]] = -20, 20, 20, 12
    weights["wx"][0, [i, f]] = 40, -40
    weights["wh"][UNIT, u] = -40
    return made


def loaded() -> Loaded:
    return Loaded(model(), params(), tiny.meta(), Path("planted"))


def texts(count: int = 40) -> list[str]:
    """Sentences in and out of quotes, some of them with numbers, names and tags."""
    rng = np.random.default_rng(0)
    words = (
        "it was good to see Ann and 12 of the USA in time caf\u00e9 (so far)".split()
    )

    def sentence() -> str:
        chosen = rng.choice(words, rng.integers(3, 9))
        return " ".join(chosen).capitalize() + rng.choice([".", "!", "?"])

    def spoken() -> str:
        return f'"{sentence()}"'

    return [
        " ".join(
            spoken() if rng.random() < 0.4 else sentence()
            for _ in range(rng.integers(3, 7))
        )
        for _ in range(count)
    ]
