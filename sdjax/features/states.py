"""The states of many texts after every byte, read together, one piece at a time."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sdjax.model.language_model import LanguageModel

_CHUNK = 64  # bytes of each text in a piece


class Piece(NamedTuple):
    """The same stretch of several texts.

    rows: int[B], which texts.
    offset: of its first byte, in each of them.
    states: float32[T, B, K], after each byte; what lies behind the end of a text means
        nothing.
    """

    rows: np.ndarray
    offset: int
    states: np.ndarray


@partial(jax.jit, static_argnums=(0, 1, 2))
def _step(model: LanguageModel, of, layers, params, tokens, carry, units):
    variables = {"params": params}
    states, carry = model.apply(variables, tokens, carry, of, layers, method="trace")
    return (states if units is None else states[..., units]), carry


def read_states(
    model: LanguageModel,
    params: dict,
    texts: Sequence[bytes],
    *,
    of: str = "cell",
    layers: str = "last",
    units: np.ndarray | None = None,
    batch_size: int = 64,
) -> Iterator[Piece]:
    """Read texts from a zero state, on one device, and yield their states.

    Texts of similar length are read together, the longest first. No more than one piece
    is held at a time.

    Args:
        model, params: the language model.
        texts: as `Normalisation.encode` gives them.
        of, layers: as for `LanguageModel.trace`.
        units: int[K], of these alone; None for all.
        batch_size: texts read at once.
    """
    lengths = np.array([len(data) for data in texts], np.int64)
    longest_first = np.argsort(-lengths, kind="stable")
    columns = None if units is None else jnp.asarray(units, jnp.int32)
    params = jax.device_put(params)
    for start in range(0, len(texts), batch_size):
        rows = longest_first[start : start + batch_size]
        carry = model.zero_state(batch_size)
        for offset in range(0, int(lengths[rows[0]]), _CHUNK):
            # A fixed shape is compiled once; the last batch is padded.
            tokens = np.zeros((_CHUNK, batch_size), np.uint8)
            for place, row in enumerate(rows):
                data = np.frombuffer(texts[row][offset : offset + _CHUNK], np.uint8)
                tokens[: len(data), place] = data
            states, carry = _step(model, of, layers, params, tokens, carry, columns)
            yield Piece(rows, offset, np.asarray(states)[:, : len(rows)])
