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


def dot(a, b):
    """Matrix product accumulated in float32."""
    return jnp.dot(a, b, preferred_element_type=jnp.float32)


def activate(z, axis: int):
    """Split the pre-activations along `axis` and return the gates i, f, o, u."""
    i, f, o, u = jnp.split(z, 4, axis)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jax.nn.sigmoid(o), jnp.tanh(u)


class Kept(NamedTuple):
    """What one step computes on the way, [features, B]; the gradient is made of it."""

    gates: jax.Array  # activated i, f, o, u [4H, B]
    operand: jax.Array  # m and x, what the gates' product reads [H + E, B]
    from_input: jax.Array | None  # x Wmx; None for the plain LSTM, as the next
    from_hidden: jax.Array | None  # h Wmh


def make_step(weights: Weights, compute_dtype) -> Callable:
    """Return the cell as a function of one byte, feature-major.

    Weights are cast and brought into the products' orientation here, outside the loop.

    Returns:
        step(hidden [H, B], cell float32[H, B], x [E, B]) -> hidden, cell, `Kept`; all
        but the cell in the compute dtype.
    """
    # m and x go through one joint product. Computing the product of x before the loop
    # and adding it here would cost more than it saves.
    gate_weight = jnp.concatenate([weights.wh, weights.wx]).astype(compute_dtype).T
    bias = weights.b[:, None]
    multiplicative = isinstance(weights, MLSTMWeights)
    if multiplicative:
        wmh = weights.wmh.astype(compute_dtype).T
        wmx = weights.wmx.astype(compute_dtype).T

    def step(hidden, cell, x):
        m, factors = hidden, (None, None)
        if multiplicative:
            from_input, from_hidden = dot(wmx, x), dot(wmh, hidden)
            m = (from_input * from_hidden).astype(compute_dtype)
            factors = from_input.astype(m.dtype), from_hidden.astype(m.dtype)
        operand = jnp.concatenate([m, x])
        i, f, o, u = activate(dot(gate_weight, operand) + bias, axis=0)
        cell = f * cell + i * u
        gates = jnp.concatenate([i, f, o, u]).astype(compute_dtype)
        hidden = (o * jnp.tanh(cell)).astype(compute_dtype)
        return hidden, cell, Kept(gates, operand, *factors)

    return step


def make_stack_step(stack: Stack, compute_dtype) -> Callable:
    """Return a stack of cells as a function of one byte, feature-major.

    Returns:
        step(states, x [E, B]) -> states, one `RecurrentState` per layer with hidden and
        cell [H, B], as `feature_major` makes them.
    """
    steps = [make_step(weights, compute_dtype) for weights in layers_of(stack)]

    def step(states, x):
        after = []
        for layer, state in zip(steps, states, strict=True):
            hidden, cell, _ = layer(*state, x)
            after.append(RecurrentState(hidden, cell))
            x = hidden
        return tuple(after)

    return step


def feature_major(state: RecurrentState, count: int) -> tuple[RecurrentState, ...]:
    """Return the state of each layer as carried by a loop over time, [H, B] each."""
    return jax.tree.map(jnp.transpose, split_layers(state, count))


def batch_major(states: Sequence[RecurrentState]) -> RecurrentState:
    """Undo `feature_major`."""
    return join_layers(jax.tree.map(jnp.transpose, states))


def chosen(states: Sequence[RecurrentState], of: str, layers: str) -> jax.Array:
    """Select a state from those that a loop carries, float32, feature-major.

    Args:
        states: as returned by `feature_major`.
        of: "cell", "hidden", or "both" for hidden followed by cell.
        layers: "last" for [H, B], "all" for [L*H, B].
    """
    if of == "both":
        return jnp.concatenate([chosen(states, x, layers) for x in ("hidden", "cell")])
    parts = [getattr(state, of) for state in states]
    value = parts[-1] if layers == "last" or len(parts) == 1 else jnp.concatenate(parts)
    return value.astype(jnp.float32)
