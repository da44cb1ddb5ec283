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
    """A stretch of several texts, one a row.

    texts: int[B], which texts; -1 where there is none left.
    offsets: int[B], of the stretch's first byte in each of them.
    states: float32[T, B, K], after each byte; what lies behind the end of a text means
        nothing.
    """

    texts: np.ndarray
    offsets: np.ndarray
    states: np.ndarray


@partial(jax.jit, static_argnums=(0, 1, 2))
def _step(model: LanguageModel, of, layers, params, tokens, carry, fresh, units):
    carry = jax.tree.map(lambda x: jnp.where(fresh[:, None], 0, x), carry)
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

    Each row of the batch reads one text after the other, the longest first, so that
    rows wait for no other. No more than one piece is held at a time.

    Args:
        model, params: the language model.
        texts: as `Normalisation.encode` gives them.
        of, layers: as for `LanguageModel.trace`.
        units: int[K], of these alone; None for all.
        batch_size: texts read at once.
    """
    lengths = np.array([len(data) for data in texts], np.int64)
    waiting = [int(i) for i in np.argsort(lengths, kind="stable") if lengths[i]]
    columns = None if units is None else jnp.asarray(units, jnp.int32)
    params = jax.device_put(params)
    carry = model.zero_state(batch_size)
    current = np.full(batch_size, -1)
    offsets = np.zeros(batch_size, np.int64)
    while True:
        # What is behind the last byte of a text is padding, up to the piece's end.
        done = (current < 0) | (offsets >= lengths[current])
        for row in np.flatnonzero(done):
            current[row] = waiting.pop() if waiting else -1
            offsets[row] = 0
        if (current < 0).all():
            return
        tokens = np.zeros((_CHUNK, batch_size), np.uint8)
        for row in np.flatnonzero(current >= 0):
            start = offsets[row]
            data = np.frombuffer(texts[current[row]][start : start + _CHUNK], np.uint8)
            tokens[: len(data), row] = data
        states, carry = _step(
            model, of, layers, params, tokens, carry, offsets == 0, columns
        )
        yield Piece(current.copy(), offsets.copy(), np.asarray(states))
        offsets += _CHUNK
