"""The cell over time: read windows of bytes forwards, and their gradient.

`scan_reference` states the recurrence as one would write it. The other functions
compute the same feature-major, [H, B] inside the loop: on a CPU a product `W @ h` with
W [M, K] is up to 1.4 times as fast as `h @ W`. Weights are cast to the compute dtype
and oriented once, outside the loop; the carried cell and all gradients are float32.

A stack of layers is read layer by layer where every hidden state is wanted (training),
and in one loop where only some are (features, traces).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sdjax.model.cell import (
    MLSTMWeights,
    RecurrentState,
    Stack,
    activate,
    batch_major,
    chosen,
    dot,
    feature_major,
    join_layers,
    layers_of,
    make_stack_step,
    make_step,
    split_layers,
)

F32 = jnp.float32


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
    stack: Stack,
    inputs: jax.Array,
    state: RecurrentState,
    reset: jax.Array,
    compute_dtype=jnp.float32,
) -> tuple[jax.Array, RecurrentState]:
    """Read a window of bytes by a plain `lax.scan`: the oracle and the baseline.

    Args and returns as for `run`.
    """
    layers, dtype = layers_of(stack), compute_dtype
    cast = [jax.tree.map(lambda v: v.astype(dtype), w)._replace(b=w.b) for w in layers]

    def layer(w, state, x):
        m = state.hidden
        if isinstance(w, MLSTMWeights):
            m = (dot(x, w.wmx) * dot(m, w.wmh)).astype(dtype)
        z = dot(x, w.wx) + dot(m, w.wh) + w.b[None]
        i, f, o, u = activate(z, axis=1)
        cell = f * state.cell + i * u
        return RecurrentState((o * jnp.tanh(cell)).astype(dtype), cell)

    def body(states, x):
        after = []
        for w, state in zip(cast, states, strict=True):
            after.append(layer(w, state, x))
            x = after[-1].hidden
        return tuple(after), x

    start = split_layers(_start(state, reset, dtype), len(layers))
    end, hidden = lax.scan(body, start, inputs.astype(dtype))
    return hidden, join_layers(end)


def _feature_major(sequence: jax.Array, dtype) -> jax.Array:
    """[T, B, F] -> [T, F, B]."""
    return sequence.astype(dtype).swapaxes(1, 2)


def _put(buffer: jax.Array, value: jax.Array, time, axis: int) -> jax.Array:
    """Write one step's value at `time` along `axis`."""
    value = jnp.expand_dims(value, axis)
    return lax.dynamic_update_slice_in_dim(buffer, value, time, axis)


def _at(buffer: jax.Array, time) -> jax.Array:
    """Read what stands at `time` along the first axis."""
    return lax.dynamic_index_in_dim(buffer, time, keepdims=False)


class _Window(NamedTuple):
    """What the gradient of a window needs, in the layout that it is read in.

    What is read back step by step has time first; operands of the products after the
    loop have features first, so that [F, T, B] is the matrix [F, T x B] as it stands.
    Buffers are not filled with zeros first where the backend can do without.
    """

    gates: jax.Array  # [T, 4H, B]
    cell: jax.Array  # float32[T + 1, H, B], the incoming one first
    from_input: jax.Array | None  # [T, H, B]
    from_hidden: jax.Array | None  # [T, H, B]
    operand: jax.Array  # [H + E, T, B]
    hidden: jax.Array  # [H, T, B]


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _run(weights, inputs, state, compute_dtype):
    return _run_forward(weights, inputs, state, compute_dtype)[0]


def _run_forward(weights, inputs, state, compute_dtype):
    length, rows, inner = inputs.shape
    width = state.hidden.shape[1]
    multiplicative = isinstance(weights, MLSTMWeights)
    step = make_step(weights, compute_dtype)
    x = _feature_major(inputs, compute_dtype)
    per_step = partial(lax.empty, dtype=compute_dtype)
    factors = per_step((length, width, rows)) if multiplicative else None
    window = _Window(
        gates=per_step((length, 4 * width, rows)),
        cell=_put(lax.empty((length + 1, width, rows), F32), state.cell.T, 0, 0),
        from_input=factors,
        from_hidden=factors,
        operand=per_step((width + inner, length, rows)),
        hidden=per_step((width, length, rows)),
    )

    def body(time, carry):
        hidden, cell, window = carry
        hidden, cell, kept = step(hidden, cell, _at(x, time))
        window = window._replace(
            gates=_put(window.gates, kept.gates, time, 0),
            cell=_put(window.cell, cell, time + 1, 0),
            operand=_put(window.operand, kept.operand, time, 1),
            hidden=_put(window.hidden, hidden, time, 1),
        )
        if multiplicative:
            window = window._replace(
                from_input=_put(window.from_input, kept.from_input, time, 0),
                from_hidden=_put(window.from_hidden, kept.from_hidden, time, 0),
            )
        return hidden, cell, window

    carry = state.hidden.T, state.cell.T, window
    hidden, cell, window = lax.fori_loop(0, length, body, carry)
    end = RecurrentState(hidden.T, cell.T)
    return (window.hidden.transpose(1, 2, 0), end), (weights, inputs, state, window)


def _run_backward(compute_dtype, residuals, cotangents):
    """Back-propagate through a window.

    Autodiff of the scan would accumulate the weights' gradients at every step. Here the
    loop computes only what the step before it needs, and keeps the gradient of each
    product's result, batch-major, for one large product per weight after the loop.
    """
    weights, inputs, state, window = residuals
    d_outputs, d_end = cotangents
    length, rows, inner = inputs.shape
    width = state.hidden.shape[1]
    multiplicative = isinstance(weights, MLSTMWeights)
    cast = partial(jnp.asarray, dtype=compute_dtype)
    gate_weight = cast(jnp.concatenate([weights.wh, weights.wx]))
    d_outputs = _feature_major(d_outputs, d_outputs.dtype)

    def body(steps_done, carry):
        time = length - 1 - steps_done
        d_hidden, d_cell, d_x, d_z, d_from_hidden, d_from_input = carry
        i, f, o, u = jnp.split(_at(window.gates, time).astype(F32), 4)
        tanh_cell = jnp.tanh(_at(window.cell, time + 1))
        d_hidden = d_hidden + _at(d_outputs, time)
        d_cell = d_cell + d_hidden * o * (1 - tanh_cell * tanh_cell)
        d_i = d_cell * u * i * (1 - i)
        d_f = d_cell * _at(window.cell, time) * f * (1 - f)
        d_o = d_hidden * tanh_cell * o * (1 - o)
        d_u = d_cell * i * (1 - u * u)
        d_gates = cast(jnp.concatenate([d_i, d_f, d_o, d_u]))
        d_hidden, d_input = jnp.split(dot(gate_weight, d_gates), [width])
        d_z = _put(d_z, d_gates.T, time, 0)
        if multiplicative:
            d_m = d_hidden
            from_hidden = cast(d_m * _at(window.from_input, time))
            from_input = cast(d_m * _at(window.from_hidden, time))
            d_hidden = dot(cast(weights.wmh), from_hidden)
            d_input = d_input + dot(cast(weights.wmx), from_input)
            d_from_hidden = _put(d_from_hidden, from_hidden.T, time, 0)
            d_from_input = _put(d_from_input, from_input.T, time, 0)
        d_x = _put(d_x, d_input.T, time, 0)
        return d_hidden, d_cell * f, d_x, d_z, d_from_hidden, d_from_input

    per_step = partial(lax.empty, dtype=compute_dtype)
    factors = per_step((length, rows, width)) if multiplicative else None
    carry = (
        *(d_end.hidden.T.astype(F32), d_end.cell.T),
        lax.empty((length, rows, inner), F32),
        *(per_step((length, rows, 4 * width)), factors, factors),
    )
    *_, d_inputs, d_z, d_from_hidden, d_from_input = lax.fori_loop(
        0, length, body, carry
    )

    def gradient(operand, d_product):  # [in, T, B], [T, B, out] -> [in, out]
        columns = operand.reshape(operand.shape[0], -1)
        return dot(columns, d_product.reshape(columns.shape[1], -1))

    d_gate_weight = gradient(window.operand, d_z)
    d_weights = weights._replace(
        wh=d_gate_weight[:width],
        wx=d_gate_weight[width:],
        b=jnp.sum(d_z, axis=(0, 1), dtype=F32),
    )
    if multiplicative:
        start = cast(state.hidden.T)[:, None]
        before = jnp.concatenate([start, window.hidden[:, :-1]], axis=1)
        d_weights = d_weights._replace(
            wmh=gradient(before, d_from_hidden),
            wmx=gradient(window.operand[width:], d_from_input),
        )
    return d_weights, d_inputs.astype(inputs.dtype), None  # state: truncated


_run.defvjp(_run_forward, _run_backward)


def run(
    stack: Stack,
    inputs: jax.Array,
    state: RecurrentState,
    reset: jax.Array,
    compute_dtype=jnp.float32,
) -> tuple[jax.Array, RecurrentState]:
    """Read a window of bytes, for training, with a hand-written gradient.

    No gradient flows into the incoming state: back-propagation is truncated there.
    Gradients of the weights are float32 in every compute dtype.

    Args:
        stack: weights of one layer, or of several; float32, effective (weight norm
            applied).
        inputs: [T, B, E], embedded bytes.
        state: the state that the previous window ended in, [B, L*H].
        reset: bool[B], rows whose incoming state is replaced by zeros.
        compute_dtype: dtype of the products' operands and of the hidden state.

    Returns:
        The last layer's hidden [T, B, H] in the compute dtype, and the state after the
        last byte.

    Reference: Krause et al. 2016, "Multiplicative LSTM for sequence modelling".
    """
    layers, compute_dtype = layers_of(stack), jnp.dtype(compute_dtype)
    starts = split_layers(_start(state, reset, compute_dtype), len(layers))
    hidden, ends = inputs, []
    for weights, start in zip(layers, starts, strict=True):
        # The gradient of its inputs is that of the hidden states of the layer below.
        hidden, end = _run(weights, hidden, start, compute_dtype)
        ends.append(end)
    return hidden, join_layers(ends)


def forward(
    stack: Stack,
    inputs: jax.Array,
    state: RecurrentState,
    lengths: jax.Array,
    compute_dtype=jnp.float32,
) -> RecurrentState:
    """Read texts of different lengths, keeping only the state each one ends in.

    Args:
        stack, inputs, state, compute_dtype: as for `run`.
        lengths: int32[B]; row r reads its first lengths[r] bytes (0 to T), then its
            state stands still, so padding never changes a result.
    """
    step = make_stack_step(stack, compute_dtype)
    x = _feature_major(inputs, compute_dtype)

    def body(time, before):
        after = step(before, x[time])
        freeze = partial(jnp.where, (time < lengths)[None])
        return jax.tree.map(freeze, after, before)

    state = _start(state, jnp.zeros_like(lengths, bool), compute_dtype)
    # As many steps as the longest text has, not as the buffer has room for.
    start = feature_major(state, len(layers_of(stack)))
    return batch_major(lax.fori_loop(0, lengths.max(), body, start))


def trace(
    stack: Stack,
    inputs: jax.Array,
    state: RecurrentState,
    compute_dtype=jnp.float32,
    of: str = "cell",
    layers: str = "last",
) -> tuple[jax.Array, RecurrentState]:
    """Return the state after every byte, float32[T, B, H], and the last whole state.

    Args:
        stack, inputs, state, compute_dtype: as for `run`.
        of: "cell" or "hidden".
        layers: "last", or "all" for those of all layers side by side, [T, B, L*H].
    """
    step = make_stack_step(stack, compute_dtype)

    def body(before, x):
        after = step(before, x)
        return after, chosen(after, of, layers).T

    state = _start(state, jnp.zeros(inputs.shape[1], bool), compute_dtype)
    start = feature_major(state, len(layers_of(stack)))
    end, traced = lax.scan(body, start, _feature_major(inputs, compute_dtype))
    return traced, batch_major(end)
