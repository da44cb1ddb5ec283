"""Multiplicative and plain LSTM over time: pure functions on arrays.

The cell, gate order i, f, o, u (Krause et al. 2016, section 3; Radford et al. 2017):

    m  = (x Wmx) * (h Wmh)                      (plain LSTM: m = h)
    z  = x Wx + m Wh + b
    c' = sigmoid(f) c + sigmoid(i) tanh(u)
    h' = sigmoid(o) tanh(c')

Weights arrive in float32 with weight norm already applied; every function casts them
to `compute_dtype` once, outside the loop. Products take operands in that dtype and
accumulate in float32; gates, the carried cell and all gradients are float32.

`scan_reference` states the cell as one would write it. The other functions compute the
same feature-major, [H, B] inside the loop: on a CPU a product `W @ h` with W [M, K] is
up to 1.4 times as fast as `h @ W`.
"""

from functools import partial
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


def _activate(z, axis: int):
    """Split the gates' sums and activate them: i, f, o, u."""
    i, f, o, u = jnp.split(z, 4, axis)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jax.nn.sigmoid(o), jnp.tanh(u)


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
    w = jax.tree.map(lambda v: v.astype(compute_dtype), weights)._replace(b=weights.b)

    def body(state, x):
        m = state.hidden
        if isinstance(w, MLSTMWeights):
            m = (_dot(x, w.wmx) * _dot(m, w.wmh)).astype(compute_dtype)
        z = _dot(x, w.wx) + _dot(m, w.wh) + w.b[None]
        i, f, o, u = _activate(z, axis=1)
        cell = f * state.cell + i * u
        hidden = (o * jnp.tanh(cell)).astype(compute_dtype)
        return RecurrentState(hidden, cell), hidden

    start = _start(state, reset, compute_dtype)
    end, hidden = lax.scan(body, start, inputs.astype(compute_dtype))
    return hidden, end


class _Saved(NamedTuple):
    """What one step keeps for the gradient, each [features, B] in the compute dtype.

    Cells are not kept after the step: gates and the cell before it give them back.
    """

    gates: jax.Array  # activated i, f, o, u [4H, B]
    cell: jax.Array  # before the step, float32
    m: jax.Array | None  # None for the plain LSTM, as the next two
    from_input: jax.Array | None  # x Wmx
    from_hidden: jax.Array | None  # h Wmh


def make_step(weights: Weights, compute_dtype):
    """Return step(hidden [H, B], cell [H, B], x [E, B]) -> hidden, cell, _Saved."""
    # One product for both operands of the gates: adding a product of x that was
    # computed before the loop costs more than it saves.
    gate_weight = jnp.concatenate([weights.wh, weights.wx]).astype(compute_dtype).T
    bias = weights.b[:, None]
    multiplicative = isinstance(weights, MLSTMWeights)
    if multiplicative:
        wmh = weights.wmh.astype(compute_dtype).T
        wmx = weights.wmx.astype(compute_dtype).T

    def step(hidden, cell, x):
        m, kept = hidden, (None, None, None)
        if multiplicative:
            from_input, from_hidden = _dot(wmx, x), _dot(wmh, hidden)
            m = (from_input * from_hidden).astype(compute_dtype)
            kept = m, from_input.astype(m.dtype), from_hidden.astype(m.dtype)
        z = _dot(gate_weight, jnp.concatenate([m, x])) + bias
        i, f, o, u = _activate(z, axis=0)
        after = f * cell + i * u
        gates = jnp.concatenate([i, f, o, u]).astype(compute_dtype)
        hidden = (o * jnp.tanh(after)).astype(compute_dtype)
        return hidden, after, _Saved(gates, cell, *kept)

    return step


def _feature_major(sequence: jax.Array, dtype) -> jax.Array:
    """[T, B, F] -> [T, F, B]."""
    return sequence.astype(dtype).swapaxes(1, 2)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _run(weights, inputs, state, compute_dtype):
    return _run_forward(weights, inputs, state, compute_dtype)[0]


def _run_forward(weights, inputs, state, compute_dtype):
    step = make_step(weights, compute_dtype)

    def body(carry, x):
        hidden, cell, saved = step(*carry, x)
        return (hidden, cell), (hidden.T, saved)

    carry = state.hidden.T, state.cell.T
    x = _feature_major(inputs, compute_dtype)
    (last_hidden, last_cell), (hidden, saved) = lax.scan(body, carry, x)
    end = RecurrentState(last_hidden.T, last_cell.T)
    return (hidden, end), (weights, inputs, state, hidden, saved)


def _run_backward(compute_dtype, residuals, cotangents):
    """Back-propagate through a window.

    Autodiff of the scan would accumulate the weights' gradients at every step. Here the
    loop computes only what the step before it needs, and keeps the gradient of each
    product's result, batch-major, for one large product per weight after the loop.
    """
    weights, inputs, state, hidden, saved = residuals
    d_outputs, d_end = cotangents
    multiplicative = isinstance(weights, MLSTMWeights)
    hidden_size = state.hidden.shape[1]
    cast = partial(jnp.asarray, dtype=compute_dtype)
    gate_weight = cast(jnp.concatenate([weights.wh, weights.wx]))

    def body(carry, step):
        d_hidden, d_cell = carry
        d_output, kept = step
        i, f, o, u = jnp.split(kept.gates.astype(jnp.float32), 4)
        tanh_cell = jnp.tanh(f * kept.cell + i * u)
        d_hidden = d_hidden + d_output
        d_cell = d_cell + d_hidden * o * (1 - tanh_cell * tanh_cell)
        d_i = d_cell * u * i * (1 - i)
        d_f = d_cell * kept.cell * f * (1 - f)
        d_o = d_hidden * tanh_cell * o * (1 - o)
        d_u = d_cell * i * (1 - u * u)
        d_z = cast(jnp.concatenate([d_i, d_f, d_o, d_u]))
        d_m, d_x = jnp.split(_dot(gate_weight, d_z), [hidden_size])
        if not multiplicative:
            return (d_m, d_cell * f), (d_x.T, d_z.T, None, None)
        d_from_hidden = cast(d_m * kept.from_input)
        d_from_input = cast(d_m * kept.from_hidden)
        d_hidden = _dot(cast(weights.wmh), d_from_hidden)
        d_x = d_x + _dot(cast(weights.wmx), d_from_input)
        kept = d_x.T, d_z.T, d_from_hidden.T, d_from_input.T
        return (d_hidden, d_cell * f), kept

    carry = d_end.hidden.T.astype(jnp.float32), d_end.cell.T
    steps = _feature_major(d_outputs, d_outputs.dtype), saved
    _, kept = lax.scan(body, carry, steps, reverse=True)
    d_inputs, d_z, d_from_hidden, d_from_input = kept

    def gradient(operand, d_product):  # [T, in, B], [T, B, out] -> [in, out]
        # As matrices: einsum would copy d_product to contract over (B, T).
        columns = jnp.moveaxis(operand, 1, 0).reshape(operand.shape[1], -1)
        return _dot(columns, d_product.reshape(columns.shape[1], -1))

    x = _feature_major(inputs, compute_dtype)
    before = jnp.concatenate([state.hidden[None], hidden[:-1]]).swapaxes(1, 2)
    m = saved.m if multiplicative else before
    d_gate_weight = gradient(jnp.concatenate([m, x], axis=1), d_z)
    d_weights = weights._replace(
        wh=d_gate_weight[:hidden_size],
        wx=d_gate_weight[hidden_size:],
        b=jnp.sum(d_z, axis=(0, 1), dtype=jnp.float32),
    )
    if multiplicative:
        d_weights = d_weights._replace(
            wmh=gradient(before, d_from_hidden), wmx=gradient(x, d_from_input)
        )
    return d_weights, d_inputs.astype(inputs.dtype), None  # state: truncated


_run.defvjp(_run_forward, _run_backward)


def run(
    weights: Weights,
    inputs: jax.Array,
    state: RecurrentState,
    reset: jax.Array,
    compute_dtype=jnp.float32,
) -> tuple[jax.Array, RecurrentState]:
    """Read a window of bytes, for training, with a hand-written gradient.

    No gradient flows into the incoming state: back-propagation is truncated there.
    Gradients of the weights are float32 in every compute dtype.

    Args:
        weights: float32, effective (weight norm applied).
        inputs: [T, B, E], embedded bytes.
        state: the state that the previous window ended in.
        reset: bool[B], rows whose incoming state is replaced by zeros.
        compute_dtype: dtype of the products' operands and of the hidden state.

    Returns:
        hidden [T, B, H] in the compute dtype, and the state after the last byte.

    Reference: Krause et al. 2016, "Multiplicative LSTM for sequence modelling".
    """
    compute_dtype = jnp.dtype(compute_dtype)
    return _run(weights, inputs, _start(state, reset, compute_dtype), compute_dtype)


def forward(
    weights: Weights,
    inputs: jax.Array,
    state: RecurrentState,
    lengths: jax.Array,
    compute_dtype=jnp.float32,
) -> RecurrentState:
    """Read texts of different lengths, keeping only the state each one ends in.

    Args:
        weights, inputs, state, compute_dtype: as for `run`.
        lengths: int32[B]; row r reads its first lengths[r] bytes (0 to T), then its
            state stands still, so padding never changes a result.
    """
    step = make_step(weights, compute_dtype)
    x = _feature_major(inputs, compute_dtype)

    def body(time, before):
        after = step(*before, x[time])[:2]
        freeze = partial(jnp.where, (time < lengths)[None])
        return jax.tree.map(freeze, after, before)

    state = _start(state, jnp.zeros_like(lengths, bool), compute_dtype)
    # As many steps as the longest text has, not as the buffer has room for.
    carry = state.hidden.T, state.cell.T
    hidden, cell = lax.fori_loop(0, lengths.max(), body, carry)
    return RecurrentState(hidden.T, cell.T)


def trace(
    weights: Weights,
    inputs: jax.Array,
    state: RecurrentState,
    compute_dtype=jnp.float32,
) -> tuple[jax.Array, RecurrentState]:
    """Return the cell after every byte, float32[T, B, H], and the last state.

    Args as for `run`.
    """
    step = make_step(weights, compute_dtype)

    def body(before, x):
        hidden, cell, _ = step(*before, x)
        return (hidden, cell), cell.T

    state = _start(state, jnp.zeros(inputs.shape[1], bool), compute_dtype)
    carry = state.hidden.T, state.cell.T
    (hidden, cell), cells = lax.scan(body, carry, _feature_major(inputs, compute_dtype))
    return cells, RecurrentState(hidden.T, cell.T)


def flops_per_character(
    cell: str, hidden_size: int, embedding_size: int, vocabulary_size: int
) -> int:
    """Count the floating-point operations of training on one character.

    Matrix products of the recurrence, the input side and the output layer: forward once
    and backward twice.

    Args:
        cell: "mlstm" or "lstm".
    """
    columns = {"lstm": 4 * hidden_size, "mlstm": 5 * hidden_size}[cell]
    rows = hidden_size + embedding_size
    return 3 * 2 * (rows * columns + hidden_size * vocabulary_size)
