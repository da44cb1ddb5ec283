"""The cell over time: read windows of bytes forwards, and their gradient.

`scan_reference` states the recurrence as one would write it. The other functions
compute the same with arrays laid out as the platform wants them (`layout`). Weights are
cast to the compute dtype and oriented once, outside the loop; the carried cell and all
gradients are float32.

A stack of layers is read layer by layer where every hidden state is wanted (training),
and in one loop where only some are (features, traces).
"""

from collections.abc import Callable
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
    chosen,
    join_layers,
    layers_of,
    loop_states,
    make_stack_step,
    make_step,
    split_layers,
    whole_state,
)
from sdjax.model.layout import (
    F32,
    Layout,
    at,
    choose,
    dot,
    put,
    rounded_dot,
    times_transposed,
)


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
    *,
    layout: Layout | None = None,
    read: Callable[[jax.Array], jax.Array] = lambda hidden: hidden,
) -> tuple[jax.Array, RecurrentState]:
    """Read a window of bytes by a plain `lax.scan`: the oracle and the baseline.

    Args and returns as for `unroll`; there is but one layout.
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
    return read(hidden), join_layers(end)


class _Window(NamedTuple):
    """What the gradient of a window needs, in the layout that it is read in.

    What is read back step by step has time first; the operands of the products after
    the loop lie as `Layout.operands` says. Buffers are not filled with zeros first
    where the backend can do without.
    """

    gates: jax.Array  # of every step, F = 4H
    cell: jax.Array  # of every step, float32, F = H, the incoming one first
    from_input: jax.Array | None  # of every step, F = H
    from_hidden: jax.Array | None  # of every step, F = H
    operand: jax.Array  # operands, F = H + E
    hidden: jax.Array  # operands, F = H


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _run(weights, inputs, state, compute_dtype, layout):
    return _run_forward(weights, inputs, state, compute_dtype, layout)[0]


def _run_forward(weights, inputs, state, compute_dtype, layout):
    length, rows, inner = inputs.shape
    width = state.hidden.shape[1]
    multiplicative = isinstance(weights, MLSTMWeights)
    step = make_step(weights, compute_dtype, layout, rows)
    x = layout.sequence(inputs.astype(compute_dtype))
    hidden, cell = layout.turned(state.hidden), layout.turned(state.cell)

    def per_step(features, steps=length, dtype=compute_dtype):
        return lax.empty((steps, *layout.shape(features, rows)), dtype)

    outside = multiplicative and layout.inputs_outside
    from_input = from_hidden = None
    if multiplicative:
        from_input, from_hidden = per_step(width), per_step(width)
    if outside:
        from_input = rounded_dot(x, weights.wmx.astype(compute_dtype), compute_dtype)
    operands = partial(layout.operands, rows=rows, dtype=compute_dtype)
    before = layout.keeps_incoming
    window = _Window(
        gates=per_step(4 * width),
        cell=per_step(width, length + 1, F32),
        from_input=from_input,
        from_hidden=from_hidden,
        operand=operands(width + inner, length),
        hidden=operands(width, length + before),
    )
    if not before:
        window = window._replace(cell=put(window.cell, cell, 0))

    def keep_state(window, hidden, cell, time):
        """Keep the state that step `time` begins with, or that the one before ends."""
        return window._replace(
            cell=put(window.cell, cell, time),
            hidden=layout.keep(window.hidden, hidden, time if before else time - 1),
        )

    def body(time, carry):
        hidden, cell, window = carry
        if before:
            window = keep_state(window, hidden, cell, time)
        given = at(window.from_input, time).astype(F32) if outside else None
        hidden, cell, kept = step(hidden, cell, at(x, time), given)
        window = window._replace(
            gates=put(window.gates, kept.gates, time),
            operand=layout.keep(window.operand, kept.operand, time),
        )
        if not before:
            window = keep_state(window, hidden, cell, time + 1)
        if multiplicative:
            window = window._replace(
                from_hidden=put(window.from_hidden, kept.from_hidden, time)
            )
        if multiplicative and not outside:
            window = window._replace(
                from_input=put(window.from_input, kept.from_input, time)
            )
        return hidden, cell, window

    hidden, cell, window = lax.fori_loop(0, length, body, (hidden, cell, window))
    if before:
        window = keep_state(window, hidden, cell, length)
    end = RecurrentState(layout.turned(hidden), layout.turned(cell))
    outputs = window.hidden if before else window.hidden.transpose(1, 2, 0)
    return (outputs, end), (weights, inputs, state, window)


def _run_backward(compute_dtype, layout, residuals, cotangents):
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
    # Casts stand outside the loop: a GPU's compiler does not move them there.
    gate_weight = cast(jnp.concatenate([weights.wh, weights.wx]))
    if layout.inputs_outside:
        gate_weight = cast(weights.wh)
    if multiplicative:
        wmh, wmx = cast(weights.wmh), cast(weights.wmx)
    d_outputs = layout.sequence(d_outputs)
    first = int(layout.keeps_incoming)  # where the first step's output stands

    def body(steps_done, carry):
        time = length - 1 - steps_done
        d_hidden, d_cell, d_x, d_z, d_from_hidden, d_from_input = carry
        i, f, o, u = jnp.split(at(window.gates, time).astype(F32), 4, layout.axis)
        tanh_cell = jnp.tanh(at(window.cell, time + 1))
        d_hidden = d_hidden + at(d_outputs, time + first)
        d_cell = d_cell + d_hidden * o * (1 - tanh_cell * tanh_cell)
        d_i = d_cell * u * i * (1 - i)
        d_f = d_cell * at(window.cell, time) * f * (1 - f)
        d_o = d_hidden * tanh_cell * o * (1 - o)
        d_u = d_cell * i * (1 - u * u)
        d_gates = cast(jnp.concatenate([d_i, d_f, d_o, d_u], layout.axis))
        d_hidden = layout.product_back(gate_weight, d_gates)
        if not layout.inputs_outside:
            d_hidden, d_input = jnp.split(d_hidden, [width], layout.axis)
        d_z = put(d_z, layout.turned(d_gates), time)
        if multiplicative:
            d_m = d_hidden
            from_hidden = cast(d_m * at(window.from_input, time))
            from_input = cast(d_m * at(window.from_hidden, time))
            d_hidden = layout.product_back(wmh, from_hidden)
            if not layout.inputs_outside:
                d_input = d_input + layout.product_back(wmx, from_input)
            d_from_hidden = put(d_from_hidden, layout.turned(from_hidden), time)
            d_from_input = put(d_from_input, layout.turned(from_input), time)
        if not layout.inputs_outside:
            d_x = put(d_x, layout.turned(d_input), time)
        return d_hidden, d_cell * f, d_x, d_z, d_from_hidden, d_from_input

    per_step = partial(lax.empty, dtype=compute_dtype)
    d_from_hidden = d_from_input = None
    if multiplicative:
        d_from_hidden = per_step((length + first, rows, width))
        d_from_input = per_step((length, rows, width))
    if multiplicative and first:  # the last hidden state is kept, but no step reads it
        last = jnp.zeros((rows, width), compute_dtype)
        d_from_hidden = put(d_from_hidden, last, length)
    in_loop = None if layout.inputs_outside else lax.empty((length, rows, inner), F32)
    carry = (
        *(layout.turned(d_end.hidden).astype(F32), layout.turned(d_end.cell)),
        *(in_loop, per_step((length, rows, 4 * width))),
        *(d_from_hidden, d_from_input),
    )
    *_, d_inputs, d_z, d_from_hidden, d_from_input = lax.fori_loop(
        0, length, body, carry
    )
    if layout.inputs_outside:
        d_inputs = times_transposed(d_z, cast(weights.wx))
        if multiplicative:
            d_inputs = d_inputs + times_transposed(d_from_input, wmx)

    d_gate_weight = layout.weight_gradient(window.operand, d_z)
    d_weights = weights._replace(
        wh=d_gate_weight[:width],
        wx=d_gate_weight[width:],
        b=jnp.sum(d_z, axis=(0, 1), dtype=F32),
    )
    if multiplicative:
        if first:
            before, x = window.hidden, cast(inputs)
        else:
            start = cast(state.hidden.T)[:, None]
            before = jnp.concatenate([start, window.hidden[:, :-1]], axis=1)
            x = window.operand[width:]
        d_weights = d_weights._replace(
            wmh=layout.weight_gradient(before, d_from_hidden),
            wmx=layout.weight_gradient(x, d_from_input),
        )
    return d_weights, d_inputs.astype(inputs.dtype), None  # state: truncated


_run.defvjp(_run_forward, _run_backward)


def unroll(
    stack: Stack,
    inputs: jax.Array,
    state: RecurrentState,
    reset: jax.Array,
    compute_dtype=jnp.float32,
    *,
    layout: Layout | None = None,
    read: Callable[[jax.Array], jax.Array] = lambda hidden: hidden,
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
        layout: of the loops; None for the one that suits the platform.
        read: what is made of the last layer's hidden [T, B, H], in the compute dtype;
            each time step on its own, as it may be given one more of them.

    Returns:
        What `read` returns, and the state after the last byte.

    Reference: Krause et al. 2016, "Multiplicative LSTM for sequence modelling".
    """
    layers, compute_dtype = layers_of(stack), jnp.dtype(compute_dtype)
    layout = layout or choose()
    starts = split_layers(_start(state, reset, compute_dtype), len(layers))
    hidden, ends = inputs, []
    first = int(layout.keeps_incoming)
    for number, (weights, start) in enumerate(zip(layers, starts, strict=True)):
        if number and first:
            hidden = hidden[first:]
        # The gradient of its inputs is that of the hidden states of the layer below.
        hidden, end = _run(weights, hidden, start, compute_dtype, layout)
        ends.append(end)
    # Cut off only now: a product of the hidden states would have to copy them.
    made = read(hidden)
    return (made[first:] if first else made), join_layers(ends)


def final_state(
    stack: Stack,
    inputs: jax.Array,
    state: RecurrentState,
    lengths: jax.Array,
    compute_dtype=jnp.float32,
    *,
    layout: Layout | None = None,
) -> RecurrentState:
    """Read texts of different lengths, keeping only the state each one ends in.

    Args:
        stack, inputs, state, compute_dtype, layout: as for `unroll`.
        lengths: int32[B]; row r reads its first lengths[r] bytes (0 to T), then its
            state stands still, so padding never changes a result.
    """
    layout = layout or choose()
    step = make_stack_step(stack, compute_dtype, layout, inputs.shape[1])
    x = layout.sequence(inputs.astype(compute_dtype))

    def body(time, before):
        after = step(before, x[time])
        freeze = partial(jnp.where, layout.per_row(time < lengths))
        return jax.tree.map(freeze, after, before)

    state = _start(state, jnp.zeros_like(lengths, bool), compute_dtype)
    # As many steps as the longest text has, not as the buffer has room for.
    start = loop_states(state, len(layers_of(stack)), layout)
    return whole_state(lax.fori_loop(0, lengths.max(), body, start), layout)


def all_states(
    stack: Stack,
    inputs: jax.Array,
    state: RecurrentState,
    compute_dtype=jnp.float32,
    of: str = "cell",
    layers: str = "last",
    *,
    layout: Layout | None = None,
) -> tuple[jax.Array, RecurrentState]:
    """Return the state after every byte, float32[T, B, H], and the last whole state.

    Args:
        stack, inputs, state, compute_dtype, layout: as for `unroll`.
        of: "cell" or "hidden".
        layers: "last", or "all" for those of all layers side by side, [T, B, L*H].
    """
    layout = layout or choose()
    step = make_stack_step(stack, compute_dtype, layout, inputs.shape[1])

    def body(before, x):
        after = step(before, x)
        return after, layout.turned(chosen(after, of, layers, layout))

    state = _start(state, jnp.zeros(inputs.shape[1], bool), compute_dtype)
    start = loop_states(state, len(layers_of(stack)), layout)
    end, traced = lax.scan(body, start, layout.sequence(inputs.astype(compute_dtype)))
    return traced, whole_state(end, layout)
