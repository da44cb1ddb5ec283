"""Reading a text that somebody is writing: what stood there before is not read again.

At 4,096 units a byte costs as much as reading all weights from memory, so a page that
read the whole text after every keystroke would take many seconds for each.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sdjax.model.cell import (
    RecurrentState,
    StepWeights,
    loop_states,
    make_stack_step,
    step_weights,
    whole_state,
)
from sdjax.model.language_model import LanguageModel

AT_ONCE = 16  # bytes in one call, after which a reader may be stopped


class ReadyModel(NamedTuple):
    """A model on one device, whose weights are prepared once for all steps.

    Attributes:
        model: its settings.
        params: of the embedding and the output.
        weights: of each recurrent layer, weight norm applied.
    """

    model: LanguageModel
    params: dict
    weights: tuple[StepWeights, ...]

    @classmethod
    def of(cls, model: LanguageModel, params: dict) -> "ReadyModel":
        """Prepare a model; `params` as `load_model` gives them."""
        params = jax.device_put(params, jax.local_devices()[0])
        outer = {name: params[name] for name in ("embedding", "output")}
        return cls(model, outer, _prepared(model, params))


@partial(jax.jit, static_argnums=0)
def _prepared(model: LanguageModel, params: dict) -> tuple[StepWeights, ...]:
    layers = model.bind({"params": params}).weights()
    dtype, layout = model.compute_dtype, model.loop_layout
    return tuple(step_weights(layer, dtype, layout) for layer in layers)


@partial(jax.jit, static_argnames="model")
def _read(params, weights, tokens, count, state, *, model):
    """Read the first `count` of uint8[AT_ONCE] symbols, one at a time.

    One step is one program whatever the count, so that a text read in pieces has the
    very states of the text read in one go.

    Returns:
        hidden [AT_ONCE, L*H], cell float32[AT_ONCE, L*H] after each symbol, and
        float32[AT_ONCE], the bits that each symbol took.
    """
    bound, layout = model.bind({"params": params}), model.loop_layout
    step = make_stack_step(weights, model.compute_dtype, layout, 1)

    def body(place, carry):
        states, hidden, cell, bits = carry
        token = tokens[place][None]
        logits = bound.logits(layout.turned(states[-1].hidden))[0]
        nats = jax.nn.logsumexp(logits) - logits[token[0]]
        states = step(states, layout.turned(bound.embed(token)))
        whole = whole_state(states, layout)
        return (
            states,
            hidden.at[place].set(whole.hidden[0]),
            cell.at[place].set(whole.cell[0]),
            bits.at[place].set(nats / jnp.log(2.0)),
        )

    room = (AT_ONCE, model.state_size)
    start = (
        loop_states(state, model.num_layers, layout),
        jnp.zeros(room, state.hidden.dtype),
        jnp.zeros(room),
        jnp.zeros(AT_ONCE),
    )
    return lax.fori_loop(0, count, body, start)[1:]


class States(NamedTuple):
    """The states of a text, and how well the model expected it.

    data: the T symbols that were read.
    hidden: [T, L*H] after each, in the compute dtype.
    cell: float32[T, L*H] after each.
    bits: float32[T], what each symbol took; the first one follows nothing: it is 0.
    """

    data: bytes
    hidden: np.ndarray
    cell: np.ndarray
    bits: np.ndarray


class PrefixReader:
    """Read one text after another, each from where it first differs from the last.

    The states after every byte of the last text are kept: 8 bytes for each unit in
    fp32, 64 MB for 2,000 bytes at 4,096 units. They equal, bit for bit, those of the
    text read from its start. One thread at a time may use a reader.

    Args:
        ready: the model, which readers share.
    """

    def __init__(self, ready: ReadyModel):
        self._ready = ready
        self._known = self._empty(0)
        self._size = 0  # bytes of the arrays that are filled
        self.bytes_read = 0  # since it was made

    def read(
        self, data: bytes, going_on: Callable[[int], bool] = lambda done: True
    ) -> States | None:
        """Read a text.

        Args:
            data: as `Normalisation.encode` gives it.
            going_on: called with the number of bytes whose states are known, before
                each piece; False stops. What was read until then is kept.

        Returns:
            The states; None if it was stopped.
        """
        for done in self.steps(data):
            if not going_on(done):
                return None
        return self.states(data)

    def steps(self, data: bytes) -> Iterator[int]:
        """Read a text piece by piece; yield how many bytes are known before each.

        The last number is the length of the text.
        """
        self._size = _common(self._known.data, data, self._size)
        self._known = self._known._replace(data=data)
        self._make_room(len(data))
        while self._size < len(data):
            yield self._size
            self._next(data)
        yield self._size

    def states(self, data: bytes) -> States:
        """Return the states of the text that `steps` has read to its end."""
        if self._known.data != data or self._size < len(data):
            raise ValueError("the text has not been read to its end")
        return States(data, *(array[: len(data)] for array in self._known[1:]))

    def _next(self, data: bytes) -> None:
        known, start = self._known, self._size
        piece = data[start : start + AT_ONCE]
        tokens = np.zeros(AT_ONCE, np.uint8)
        tokens[: len(piece)] = np.frombuffer(piece, np.uint8)
        state = self._ready.model.zero_state(1)
        if start:
            state = RecurrentState(
                known.hidden[start - 1 : start], known.cell[start - 1 : start]
            )
        found = jax.device_get(
            _read(
                self._ready.params,
                self._ready.weights,
                tokens,
                np.int32(len(piece)),
                state,
                model=self._ready.model,
            )
        )
        for array, new in zip(known[1:], found, strict=True):
            array[start : start + len(piece)] = new[: len(piece)]
        if not start:
            known.bits[0] = 0
        self._size += len(piece)
        self.bytes_read += len(piece)

    def _make_room(self, length: int) -> None:
        known = self._known
        # What was handed out stays as it is: a text that differs gets new arrays.
        grown = self._empty(length)
        for array, old in zip(grown[1:], known[1:], strict=True):
            array[: self._size] = old[: self._size]
        self._known = grown._replace(data=known.data)

    def _empty(self, length: int) -> States:
        model = self._ready.model
        room = (length, model.state_size)
        return States(
            b"",
            np.zeros(room, model.zero_state(1).hidden.dtype),
            np.zeros(room, np.float32),
            np.zeros(length, np.float32),
        )


def _common(a: bytes, b: bytes, limit: int) -> int:
    """Return how many bytes, at most `limit`, two texts begin with in common."""
    limit = min(len(a), len(b), limit)
    pair = (np.frombuffer(x[:limit], np.uint8) for x in (a, b))
    different = np.flatnonzero(np.not_equal(*pair))
    return int(different[0]) if len(different) else limit
