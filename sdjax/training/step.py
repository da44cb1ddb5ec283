"""One training or evaluation step on one device: pure functions, to be pmapped."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax.training import train_state
from flax.training.dynamic_scale import DynamicScale

from sdjax.data.windows import Batch
from sdjax.model.cell import RecurrentState
from sdjax.model.devices import AXIS
from sdjax.model.language_model import LanguageModel, fold_weight_norm


class TrainState(train_state.TrainState):
    """Parameters, optimizer state and loss scale.

    `step` counts batches consumed; the optimizer's own count counts updates applied,
    which is what the learning rate follows. They differ once an update is skipped.
    `apply_fn` is that of the model without weight norm: it takes effective weights.
    """

    loss_scale: DynamicScale


class WindowSums(NamedTuple):
    """What a window gives, summed over devices; all 0-d.

    nats: float32, summed cross-entropy of the predicted bytes; 0 if not finite.
    predicted: int32, bytes predicted; 0 where `nats` was not finite.
    rows_zeroed: int32, rows whose carried state was not finite.
    """

    nats: jax.Array
    predicted: jax.Array
    rows_zeroed: jax.Array


class UpdateMetrics(NamedTuple):
    """What an update reports, the same on all devices; all 0-d.

    grad_norm: float32, global norm of the unscaled gradient before clipping.
    loss_scale: float32, the scale that this step used.
    skipped: int32, 1 if the gradient was not finite and the update left out.
    updates: int32, updates applied so far.
    """

    grad_norm: jax.Array
    loss_scale: jax.Array
    skipped: jax.Array
    updates: jax.Array


class StepMetrics(NamedTuple):
    """What one step reports: `WindowSums` and `UpdateMetrics` together."""

    nats: jax.Array
    predicted: jax.Array
    rows_zeroed: jax.Array
    grad_norm: jax.Array
    loss_scale: jax.Array
    skipped: jax.Array
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
        apply_fn=model.clone(use_weight_norm=False).apply,
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
    state: TrainState,
    carry: RecurrentState,
    batch: Batch,
    all_reduce_dtype: jnp.dtype = jnp.float32,
) -> tuple[TrainState, RecurrentState, StepMetrics]:
    """Take one optimizer step on this device's rows; replicas end up equal.

    The gradient is of the mean over all predicted bytes of the global batch, so the
    result does not depend on how the batch is spread over devices. If any replica's
    gradient is not finite, parameters, moments and learning-rate count stay and the
    loss scale halves. A row whose state is not finite restarts from zeros.

    Args:
        state: the same on every device.
        carry: this device's rows, [B, H].
        batch: this device's rows: tokens uint8[T + 1, B], lengths and reset [B].
        all_reduce_dtype: in which replicas' gradients are averaged.
    """
    weights = fold_weight_norm(state.params)
    scale = state.loss_scale.scale
    gradient, carry, sums = gradient_step(
        state.apply_fn, weights, scale, carry, batch, all_reduce_dtype
    )
    state, update = update_step(state, gradient)
    return state, carry, StepMetrics(**sums._asdict(), **update._asdict())


def gradient_step(
    apply_fn: Callable,
    weights: dict,
    scale: jax.Array,
    carry: RecurrentState,
    batch: Batch,
    all_reduce_dtype: jnp.dtype,
) -> tuple[dict, RecurrentState, WindowSums]:
    """Return the gradient in the weights, the state at the window's end, and sums.

    Each replica's gradient, still multiplied by the loss scale, is cast and then
    averaged over replicas. If the sum overflows, it is not finite on any replica.

    Args:
        apply_fn: of a model without weight norm.
        weights: float32, its parameters.
        scale: float32[], the loss scale.
        carry, batch, all_reduce_dtype: as for `train_step`.

    Returns:
        The gradient like `weights`, in `all_reduce_dtype`, times `scale`; the rest.
    """
    predicted = jax.lax.psum(batch.lengths.sum(), AXIS)
    devices = jax.lax.psum(1, AXIS)

    def loss(weights):
        out = apply_fn({"params": weights}, batch.tokens[:-1], carry, batch.reset)
        nats = cross_entropy(out["logits"], batch.tokens, batch.lengths)
        # pmean divides by the number of devices; the mean wanted is over all bytes.
        return scale * (nats * devices / predicted), (nats, out["state"])

    gradient, (nats, end) = mean_gradient(loss, weights, all_reduce_dtype)
    end, rows_zeroed = zero_broken_rows(end)
    nats = jax.lax.psum(nats, AXIS)
    counts = jnp.isfinite(nats)
    sums = WindowSums(
        nats=jnp.where(counts, nats, 0),
        predicted=jnp.where(counts, predicted, 0),
        rows_zeroed=jax.lax.psum(rows_zeroed, AXIS),
    )
    return gradient, end, sums


def mean_gradient(
    loss: Callable, weights: dict, all_reduce_dtype: jnp.dtype
) -> tuple[dict, tuple]:
    """Return a loss's gradient in the weights, averaged over replicas, and the rest.

    Args:
        loss: weights -> (scaled loss float32[], anything else).
        all_reduce_dtype: as for `train_step`.
    """
    gradient, rest = jax.grad(loss, has_aux=True)(weights)
    gradient = jax.tree.map(lambda g: g.astype(all_reduce_dtype), gradient)
    return jax.lax.pmean(gradient, AXIS), rest


def update_step(state: TrainState, gradient: dict) -> tuple[TrainState, UpdateMetrics]:
    """Update parameters by what `gradient_step` gives, or leave them if it overflowed.

    Args:
        gradient: in the effective weights, times the loss scale.
    """
    updated, finite, grad_norm = apply_gradient(state, gradient)
    metrics = UpdateMetrics(
        grad_norm=grad_norm,
        loss_scale=state.loss_scale.scale,
        skipped=(~finite).astype(jnp.int32),
        updates=updates_applied(state.opt_state) + finite.astype(jnp.int32),
    )
    return updated, metrics


def apply_gradient(
    state: TrainState, gradient: dict, fold: Callable[[dict], dict] = fold_weight_norm
) -> tuple[TrainState, jax.Array, jax.Array]:
    """Take an update whose gradient is finite; skip it otherwise.

    Unscaling, weight norm's part of the gradient, clipping and Adam, all in float32. A
    skipped update leaves parameters and moments as they were; the loss scale follows
    either way.

    Args:
        gradient: in the effective weights, times the loss scale.
        fold: from parameters to effective weights.

    Returns:
        The state; whether the gradient was finite, bool[]; its norm before clipping,
        float32[].
    """
    scale = state.loss_scale.scale
    gradient = jax.tree.map(lambda g: g.astype(jnp.float32) / scale, gradient)
    (gradient,) = jax.vjp(fold, state.params)[1](gradient)
    finite = jnp.stack([jnp.isfinite(g).all() for g in jax.tree.leaves(gradient)]).all()
    updated = state.apply_gradients(grads=gradient)

    def keep_if_skipped(new, old):
        return jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)

    kept = updated.replace(
        params=keep_if_skipped(updated.params, state.params),
        opt_state=keep_if_skipped(updated.opt_state, state.opt_state),
        loss_scale=next_loss_scale(state.loss_scale, finite),
    )
    return kept, finite, optax.tree.norm(gradient)


def next_loss_scale(loss_scale: DynamicScale, finite: jax.Array) -> DynamicScale:
    """Return the loss scale after a step: the rule of `DynamicScale.value_and_grad`.

    Grown where `growth_interval` steps before this one were finite too, backed off to
    no less than its minimum where this one was not.

    Args:
        finite: bool[], whether this step's gradient was.
    """
    # At least: a resumed run may ask for a shorter interval than it was saved with.
    grow = finite & (loss_scale.fin_steps >= loss_scale.growth_interval)
    grown = loss_scale.scale * loss_scale.growth_factor
    smaller = loss_scale.scale * loss_scale.backoff_factor
    if loss_scale.minimum_scale is not None:
        smaller = jnp.maximum(smaller, loss_scale.minimum_scale)
    largest = jnp.finfo(jnp.float32).max
    kept = jnp.where(grow, jnp.minimum(grown, largest), loss_scale.scale)
    return loss_scale.replace(
        scale=jnp.where(finite, kept, smaller),
        fin_steps=jnp.where(grow | ~finite, 0, loss_scale.fin_steps + 1),
    )


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
