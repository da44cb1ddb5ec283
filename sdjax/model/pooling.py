"""Mean, maximum and minimum of a state over the bytes of each text.

The statistics are updated in the loop over time, so memory does not grow with the
length of a text. They are carried from chunk to chunk if a text is read in chunks.
"""

from collections.abc import Collection
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sdjax.model.cell import (
    RecurrentState,
    Stack,
    chosen,
    layers_of,
    loop_states,
    make_stack_step,
    whole_state,
)
from sdjax.model.layout import Layout, choose


class Pools(NamedTuple):
    """Statistics of a state over the bytes read so far, float32[B, width] each.

    A statistic that was not requested is None. The sum is `total + lost`, where `lost`
    compensates rounding: a plain float32 sum over a million bytes would lose three
    digits.
    """

    total: jax.Array | None
    lost: jax.Array | None
    maximum: jax.Array | None
    minimum: jax.Array | None


def start(kinds: Collection[str], batch_size: int, width: int) -> Pools:
    """Return the statistics of no bytes, on the host.

    Args:
        kinds: the statistics to keep: "mean", "max", "min".
        batch_size: number of texts.
        width: size of the pooled state.
    """

    def filled(kind: str, value: float) -> np.ndarray | None:
        shape = batch_size, width
        return np.full(shape, value, np.float32) if kind in kinds else None

    return Pools(
        filled("mean", 0.0),
        filled("mean", 0.0),
        filled("max", -np.inf),
        filled("min", np.inf),
    )


def pooled_states(
    stack: Stack,
    inputs: jax.Array,
    state: RecurrentState,
    pools: Pools,
    lengths: jax.Array,
    of: str,
    compute_dtype=jnp.float32,
    layers: str = "last",
    *,
    layout: Layout | None = None,
) -> tuple[RecurrentState, Pools]:
    """Read texts of different lengths and update the statistics of each.

    Args:
        stack, inputs, state, lengths, compute_dtype, layout: as for
            `recurrence.final_state`.
        pools: of the bytes before these.
        of: the state to pool: "cell", "hidden" or "both".
        layers: the layers to pool: "last" or "all".

    Returns:
        The final state of each text, and the updated `pools`. Padding after the
        `lengths[r]` bytes of text r affects neither.
    """
    layout = layout or choose()
    step = make_stack_step(stack, compute_dtype, layout, inputs.shape[1])
    x = layout.sequence(inputs.astype(compute_dtype))

    def body(time, before):
        states, sums = before
        after = step(states, x[time])
        after = after, _added(sums, chosen(after, of, layers, layout))
        reading = layout.per_row(time < lengths)
        return jax.tree.map(lambda a, b: jnp.where(reading, a, b), after, before)

    sums = jax.tree.map(layout.turned, pools)
    if pools.total is not None:  # of these bytes alone, to be added exactly
        sums = sums._replace(total=jnp.zeros_like(sums.total), lost=None)
    state = state._replace(hidden=state.hidden.astype(compute_dtype))
    states = loop_states(state, len(layers_of(stack)), layout)
    # As many steps as the longest text has, not as the buffer has room for.
    states, sums = lax.fori_loop(0, lengths.max(), body, (states, sums))
    sums = jax.tree.map(layout.turned, sums)
    if pools.total is not None:
        sums = sums._replace(**_exact_sum(pools.total, sums.total, pools.lost))
    return whole_state(states, layout), sums


def _added(sums: Pools, value: jax.Array) -> Pools:
    return Pools(
        None if sums.total is None else sums.total + value,
        sums.lost,
        None if sums.maximum is None else jnp.maximum(sums.maximum, value),
        None if sums.minimum is None else jnp.minimum(sums.minimum, value),
    )


def _exact_sum(a: jax.Array, b: jax.Array, lost: jax.Array) -> dict[str, jax.Array]:
    """Add, and keep the rounding error (Knuth 1997, section 4.2.2, theorem B)."""
    total = a + b
    from_b = total - a
    return {"total": total, "lost": lost + (a - (total - from_b)) + (b - from_b)}
