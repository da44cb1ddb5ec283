"""Multiplicative and plain LSTM over time: pure functions on arrays.

The cell, gate order i, f, o, u (Krause et al. 2016, eqs. 13-19; Radford et al. 2017):

    m  = (x Wmx) * (h Wmh)                      (plain LSTM: m = h)
    z  = x Wx + m Wh + b
    c' = sigmoid(f) c + sigmoid(i) tanh(u)
    h' = sigmoid(o) tanh(c')

Weights arrive in float32 with weight norm already applied; each function casts them to
`compute_dtype` once, outside the loop. Products take operands in that dtype and
accumulate in float32; gates and the carried cell are float32.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class RecurrentState(NamedTuple):
    """What is carried from byte to byte: hidden [B, H], cell float32[B, H]."""

    hidden: jax.Array
    cell: jax.Array


class MLSTMWeights(NamedTuple):
    """wx [E, 4H], wh [H, 4H], wmx [E, H], wmh [H, H], b [4H], all float32."""

    wx: jax.Array
    wh: jax.Array
    wmx: jax.Array
    wmh: jax.Array
    b: jax.Array


class LSTMWeights(NamedTuple):
    """wx [E, 4H], wh [H, 4H], b [4H], all float32."""

    wx: jax.Array
    wh: jax.Array
    b: jax.Array


Weights = MLSTMWeights | LSTMWeights


def zero_state(batch_size: int, hidden_size: int, compute_dtype) -> RecurrentState:
    """Return the state at the start of a text: all zeros."""
    shape = batch_size, hidden_size
    return RecurrentState(jnp.zeros(shape, compute_dtype), jnp.zeros(shape))


def _dot(a, b):
    """Matrix product accumulated in float32."""
    return jnp.dot(a, b, preferred_element_type=jnp.float32)


def _cast(weights: Weights, compute_dtype) -> Weights:
    """Cast the matrices; the bias stays in float32."""
    matrices = {k: v.astype(compute_dtype) for k, v in weights._asdict().items()}
    return weights._replace(**(matrices | {"b": weights.b}))


def step(weights: Weights, x, state: RecurrentState) -> RecurrentState:
    """Read one byte: x [B, E] in the weights' dtype."""
    m = state.hidden
    if isinstance(weights, MLSTMWeights):
        m = (_dot(x, weights.wmx) * _dot(m, weights.wmh)).astype(x.dtype)
    z = _dot(x, weights.wx) + _dot(m, weights.wh) + weights.b[None]
    i, f, o, u = jnp.split(z, 4, axis=-1)
    cell = jax.nn.sigmoid(f) * state.cell + jax.nn.sigmoid(i) * jnp.tanh(u)
    hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
    return RecurrentState(hidden.astype(x.dtype), cell)


def _start(state: RecurrentState, reset, compute_dtype) -> RecurrentState:
    """Zero the rows that start a new text and cut the gradient into the state."""
    keep = ~reset[:, None]
    return lax.stop_gradient(
        RecurrentState(
            jnp.where(keep, state.hidden, 0).astype(compute_dtype),
            jnp.where(keep, state.cell, 0).astype(jnp.float32),
        )
    )


def scan_reference(
    weights: Weights,
    inputs: jax.Array,
    state: RecurrentState,
    reset: jax.Array,
    compute_dtype=jnp.float32,
) -> tuple[jax.Array, RecurrentState]:
    """Read a window of bytes by a plain `lax.scan`: the oracle and the baseline.

    Args and returns as for `run`.
    """
    weights = _cast(weights, compute_dtype)

    def body(state, x):
        state = step(weights, x, state)
        return state, state.hidden

    start = _start(state, reset, compute_dtype)
    end, hidden = lax.scan(body, start, inputs.astype(compute_dtype))
    return hidden, end


def run(
    weights: Weights,
    inputs: jax.Array,
    state: RecurrentState,
    reset: jax.Array,
    compute_dtype=jnp.float32,
) -> tuple[jax.Array, RecurrentState]:
    """Read a window of bytes, for training.

    No gradient flows into the incoming state: back-propagation is truncated there.

    Args:
        weights: float32, effective (weight norm applied).
        inputs: [T, B, E], embedded bytes.
        state: the state that the previous window ended in.
        reset: bool[B], rows whose incoming state is replaced by zeros.
        compute_dtype: dtype of the products' operands and of the hidden state.

    Returns:
        hidden [T, B, H] in the compute dtype, and the state after the last byte.
    """
    return scan_reference(weights, inputs, state, reset, compute_dtype)


def forward(
    weights: Weights,
    inputs: jax.Array,
    state: RecurrentState,
    lengths: jax.Array,
    compute_dtype=jnp.float32,
) -> RecurrentState:
    """Read texts of different lengths, keeping only the state each one ends in.

    Args:
        lengths: int32[B]; row r reads its first lengths[r] bytes (0 to T), then its
            state stands still, so padding never changes a result.
        weights, inputs, state, compute_dtype: as for `run`.
    """
    weights = _cast(weights, compute_dtype)

    def body(state, t_x):
        t, x = t_x
        live = (t < lengths)[:, None]
        after = step(weights, x, state)
        return jax.tree.map(lambda a, b: jnp.where(live, a, b), after, state), None

    start = _start(state, jnp.zeros_like(lengths, bool), compute_dtype)
    times = jnp.arange(inputs.shape[0])
    return lax.scan(body, start, (times, inputs.astype(compute_dtype)))[0]


def trace(
    weights: Weights,
    inputs: jax.Array,
    state: RecurrentState,
    compute_dtype=jnp.float32,
) -> tuple[jax.Array, RecurrentState]:
    """Return the cell after every byte, float32[T, B, H], and the last state.

    Args as for `run`.
    """
    weights = _cast(weights, compute_dtype)

    def body(state, x):
        state = step(weights, x, state)
        return state, state.cell

    start = _start(state, jnp.zeros(inputs.shape[1], bool), compute_dtype)
    end, cells = lax.scan(body, start, inputs.astype(compute_dtype))
    return cells, end


def flops_per_character(
    cell: str, hidden_size: int, embedding_size: int, vocabulary_size: int
) -> int:
    """Count the floating-point operations of training on one character.

    Matrix products of the recurrence, the input side and the output layer; forward once
    and backward twice.

    Args:
        cell: "mlstm" or "lstm".
    """
    columns = {"lstm": 4 * hidden_size, "mlstm": 5 * hidden_size}[cell]
    rows = hidden_size + embedding_size
    return 3 * 2 * (rows * columns + hidden_size * vocabulary_size)
