"""The multiplicative and the plain LSTM cell: one byte, pure functions on arrays.

The cell, gate order i, f, o, u (Krause et al. 2016, section 3; Radford et al. 2017):

    m  = (x Wmx) * (h Wmh)                      (plain LSTM: m = h)
    z  = x Wx + m Wh + b
    c' = sigmoid(f) c + sigmoid(i) tanh(u)
    h' = sigmoid(o) tanh(c')

Weights arrive in float32 with weight norm already applied. Products take operands in
the compute dtype and accumulate in float32; gates and the cell are float32.

Layers may be stacked: each one above the first reads the hidden state of the one below
as its x. The states of a stack stand side by side, layer 0 first.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sdjax.model.layout import Layout


class RecurrentState(NamedTuple):
    """The recurrent state between bytes: hidden [B, L*H], cell float32[B, L*H]."""

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
Stack = Weights | tuple[Weights, ...]  # a layer, or several from the bottom up


def layers_of(stack: Stack) -> tuple[Weights, ...]:
    """Return the layers of a stack, from the bottom up."""
    return (stack,) if isinstance(stack, Weights) else tuple(stack)


def zero_state(batch_size: int, state_size: int, compute_dtype) -> RecurrentState:
    """Return the state at the start of a text: all zeros."""
    shape = batch_size, state_size
    return RecurrentState(jnp.zeros(shape, compute_dtype), jnp.zeros(shape))


def split_layers(state: RecurrentState, count: int) -> tuple[RecurrentState, ...]:
    """Return the state of each of `count` layers, from the bottom up."""
    if count == 1:
        return (state,)
    parts = (jnp.split(x, count, axis=1) for x in state)
    return tuple(map(RecurrentState, *parts))


def join_layers(states: Sequence[RecurrentState]) -> RecurrentState:
    """Put the states of layers side by side: undo `split_layers`."""
    if len(states) == 1:
        return states[0]
    parts = zip(*states, strict=True)
    return RecurrentState(*(jnp.concatenate(x, axis=1) for x in parts))


def activate(z, axis: int):
    """Split the pre-activations along `axis` and return the gates i, f, o, u."""
    i, f, o, u = jnp.split(z, 4, axis)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jax.nn.sigmoid(o), jnp.tanh(u)


class Residuals(NamedTuple):
    """What one step computes on the way, in the loop's layout, F features of B rows.

    The gradient is made of it.
    """

    gates: jax.Array  # activated i, f, o, u, F = 4H
    operand: jax.Array  # m and x, what the gates' product reads, F = H + E
    from_input: jax.Array | None  # x Wmx, F = H; None for the plain LSTM, as the next
    from_hidden: jax.Array | None  # h Wmh, F = H


class StepWeights(NamedTuple):
    """A layer's weights as a step multiplies by them: cast, and oriented by a layout.

    gates: of h (or m) and x together; bias: float32[4H]; wmh, wmx: None for the plain
    LSTM.
    """

    gates: jax.Array
    bias: jax.Array
    wmh: jax.Array | None
    wmx: jax.Array | None


def step_weights(weights: Weights, compute_dtype, layout: Layout) -> StepWeights:
    """Prepare a layer's weights for `make_step`; who reads a few bytes keeps them."""
    # One product for both operands of the gates: adding a product of x that was
    # computed before the loop costs more than it saves.
    gates = jnp.concatenate([weights.wh, weights.wx]).astype(compute_dtype)
    wmh = wmx = None
    if isinstance(weights, MLSTMWeights):
        wmh = layout.operand_weight(weights.wmh.astype(compute_dtype))
        wmx = layout.operand_weight(weights.wmx.astype(compute_dtype))
    return StepWeights(layout.operand_weight(gates), weights.b, wmh, wmx)


def make_step(
    weights: Weights | StepWeights, compute_dtype, layout: Layout, rows: int
) -> Callable:
    """Return the cell as a function of one byte of each of `rows` rows.

    Weights are cast and brought into the products' orientation here, outside the loop,
    unless `step_weights` has done it.

    Returns:
        step(hidden, cell, x, from_input=None) -> hidden, cell, `Residuals`; all in the
        layout of the loop, the cell in float32 and everything else in the compute
        dtype. `from_input` is x Wmx where that was computed before.
    """
    if not isinstance(weights, StepWeights):
        weights = step_weights(weights, compute_dtype, layout)
    gate_weight, wmh, wmx = weights.gates, weights.wmh, weights.wmx
    bias = layout.bias(weights.bias, rows)
    multiplicative = wmh is not None

    def step(hidden, cell, x, from_input=None):
        m, factors = hidden, (None, None)
        if multiplicative:
            if from_input is None:
                from_input = layout.product(wmx, x)
            from_hidden = layout.product(wmh, hidden)
            m = (from_input * from_hidden).astype(compute_dtype)
            factors = from_input.astype(m.dtype), from_hidden.astype(m.dtype)
        operand = jnp.concatenate([m, x], layout.axis)
        i, f, o, u = activate(layout.product(gate_weight, operand) + bias, layout.axis)
        cell = f * cell + i * u
        gates = jnp.concatenate([i, f, o, u], layout.axis).astype(compute_dtype)
        hidden = (o * jnp.tanh(cell)).astype(compute_dtype)
        return hidden, cell, Residuals(gates, operand, *factors)

    return step


def make_stack_step(stack: Stack, compute_dtype, layout: Layout, rows: int) -> Callable:
    """Return a stack of cells as a function of one byte of each of `rows` rows.

    Returns:
        step(states, x) -> states, one `RecurrentState` per layer, as `loop_states`
        makes them; x in the layout of the loop.
    """
    steps = [make_step(w, compute_dtype, layout, rows) for w in layers_of(stack)]

    def step(states, x):
        after = []
        for layer, state in zip(steps, states, strict=True):
            hidden, cell, _ = layer(*state, x)
            after.append(RecurrentState(hidden, cell))
            x = hidden
        return tuple(after)

    return step


def loop_states(
    state: RecurrentState, count: int, layout: Layout
) -> tuple[RecurrentState, ...]:
    """Return the layers' states as a loop over time carries them."""
    return jax.tree.map(layout.turned, split_layers(state, count))


def whole_state(states: Sequence[RecurrentState], layout: Layout) -> RecurrentState:
    """Undo `loop_states`."""
    return join_layers(jax.tree.map(layout.turned, states))


def chosen(
    states: Sequence[RecurrentState], of: str, layers: str, layout: Layout
) -> jax.Array:
    """Return one of the states that a loop carries, float32, in the loop's layout.

    Args:
        states: as `loop_states` makes them.
        of: "cell" or "hidden", or "both" for hidden and cell, one after the other.
        layers: "last" for H features, "all" for L*H.
    """
    if of == "both":
        both = [chosen(states, x, layers, layout) for x in ("hidden", "cell")]
        return jnp.concatenate(both, layout.axis)
    parts = [getattr(state, of) for state in states]
    alone = layers == "last" or len(parts) == 1
    value = parts[-1] if alone else jnp.concatenate(parts, layout.axis)
    return value.astype(jnp.float32)
