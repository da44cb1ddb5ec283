"""One training or evaluation step on one device: pure functions, to be pmapped."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax.training import train_state
from flax.training.dynamic_scale import DynamicScale

from sdjax.cell import RecurrentState
from sdjax.model import LanguageModel
from sdjax.windows import Batch

AXIS = "batch"  # the name of the data-parallel axis


class TrainState(train_state.TrainState):
    """Parameters, optimizer state and loss scale.

    `step` counts batches consumed; the optimizer's own count counts updates applied,
    which is what the learning rate follows. They part when an update is skipped.
    """

    loss_scale: DynamicScale


class StepMetrics(NamedTuple):
    """What one step reports, summed over devices; all 0-d.

    nats: float32, summed cross-entropy of the predicted bytes; 0 if not finite.
    predicted: int32, bytes predicted; 0 where `nats` was not finite.
    grad_norm: float32, global norm of the unscaled gradient before clipping.
    loss_scale: float32, the scale that this step used.
    skipped: int32, 1 if the gradient was not finite and the update left out.
    rows_zeroed: int32, rows whose carried state was not finite.
    updates: int32, updates applied so far.
    """

    nats: jax.Array
    predicted: jax.Array
    grad_norm: jax.Array
    loss_scale: jax.Array
    skipped: jax.Array
    rows_zeroed: jax.Array
    updates: jax.Array


class Evaluation(NamedTuple):
    """Sums over devices: nats float32[], predicted int32[]."""

    nats: jax.Array
    predicted: jax.Array


def create_train_state(
    model: LanguageModel,
    tx: optax.GradientTransformation,
    loss_scale: DynamicScale,
    params: dict,
) -> TrainState:
    """Put the parts together; the counters start at 0."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        apply_fn=model.apply,
        params=params,
        tx=tx,
        opt_state=tx.init(params),
        loss_scale=loss_scale,
    )


def updates_applied(opt_state: optax.OptState) -> jax.Array:
    """Return Adam's count, int32[]."""
    return optax.tree.get(
        opt_state, "count", filtering=lambda path, _: "ScaleByAdam" in str(path)
    )


def cross_entropy(logits: jax.Array, tokens: jax.Array, lengths: jax.Array):
    """Sum the cross-entropy over the bytes that count.

    Args:
        logits: float32[T, B, V].
        tokens: uint8[T + 1, B]; the targets are `tokens[1:]`.
        lengths: int32[B], targets that count in each row.

    Returns:
        float32[], nats.
    """
    targets = tokens[1:].astype(jnp.int32)
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    live = jnp.arange(targets.shape[0])[:, None] < lengths[None]
    return jnp.sum(jnp.where(live, nats, 0))


def train_step(
    state: TrainState, carry: RecurrentState, batch: Batch
) -> tuple[TrainState, RecurrentState, StepMetrics]:
    """Take one optimizer step on this device's rows; replicas end up equal.

    The gradient is of the mean over all predicted bytes of the global batch, so the
    result does not depend on how the batch is spread over devices. If any replica's
    gradient is not finite, parameters, moments and learning-rate count stay and the
    loss scale halves. A row whose state is not finite goes on from zeros.

    Args:
        state: the same on every device.
        carry: this device's rows, [B, H].
        batch: this device's rows: tokens uint8[T + 1, B], lengths and reset [B].
    """
    predicted = jax.lax.psum(batch.lengths.sum(), AXIS)
    devices = jax.lax.psum(1, AXIS)

    def loss(params):
        out = state.apply_fn({"params": params}, batch.tokens[:-1], carry, batch.reset)
        nats = cross_entropy(out["logits"], batch.tokens, batch.lengths)
        # pmean divides by the number of devices; the mean wanted is over all bytes.
        return nats * devices / predicted, (nats, out["state"])

    loss_scale, finite, (_, (nats, end)), grads = state.loss_scale.value_and_grad(
        loss, has_aux=True, axis_name=AXIS
    )(state.params)
    updated = state.apply_gradients(grads=grads)

    def keep_if_skipped(new, old):
        return jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)

    end, rows_zeroed = zero_broken_rows(end)
    nats = jax.lax.psum(nats, AXIS)
    counts = jnp.isfinite(nats)
    metrics = StepMetrics(
        nats=jnp.where(counts, nats, 0),
        predicted=jnp.where(counts, predicted, 0),
        grad_norm=optax.tree.norm(grads),
        loss_scale=state.loss_scale.scale,
        skipped=(~finite).astype(jnp.int32),
        rows_zeroed=jax.lax.psum(rows_zeroed, AXIS),
        updates=updates_applied(state.opt_state) + finite.astype(jnp.int32),
    )
    state = updated.replace(
        params=keep_if_skipped(updated.params, state.params),
        opt_state=keep_if_skipped(updated.opt_state, state.opt_state),
        loss_scale=loss_scale,
    )
    return state, end, metrics


def zero_broken_rows(carry: RecurrentState) -> tuple[RecurrentState, jax.Array]:
    """Zero each row that is not finite; return the carry and how many, int32[]."""
    finite = [jnp.isfinite(x).all(axis=1) for x in carry]
    keep = jnp.logical_and(*finite)
    carry = jax.tree.map(lambda x: jnp.where(keep[:, None], x, 0), carry)
    return carry, (~keep).sum(dtype=jnp.int32)


def eval_step(
    model: LanguageModel, params: dict, carry: RecurrentState, batch: Batch
) -> tuple[RecurrentState, Evaluation]:
    """Predict one window on this device's rows, carrying the state on."""
    out = model.apply({"params": params}, batch.tokens[:-1], carry, batch.reset)
    nats = cross_entropy(out["logits"], batch.tokens, batch.lengths)
    sums = Evaluation(nats, batch.lengths.sum())
    return out["state"], jax.lax.psum(sums, AXIS)
