"""One fine-tuning step on one device, for the classifier head and the body under it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from sdjax.model.cell import RecurrentState
from sdjax.model.devices import AXIS
from sdjax.model.language_model import fold_weight_norm
from sdjax.training.optimizer import schedule
from sdjax.training.step import TrainState, apply_gradient, cross_entropy, mean_gradient


class Standard(NamedTuple):
    """Standardisation of the head's features, float32[F] each; not trained."""

    mean: jax.Array
    scale: jax.Array


class HeadMetrics(NamedTuple):
    """The metrics of one step over all devices; all 0-d.

    loss: float32, loss of the head, mean over texts; may be NaN or infinite.
    nats: float32, cross-entropy of the language model, sum over predicted bytes.
    predicted: int32, number of predicted bytes.
    skipped: int32, 1 if the update was skipped.
    """

    loss: jax.Array
    nats: jax.Array
    predicted: jax.Array
    skipped: jax.Array


def head_optimizer(
    learning_rate: float,
    body_ratio: float,
    warmup_steps: int,
    total_steps: int,
    clip_norm: float = 1.0,
) -> optax.GradientTransformation:
    """Return Adam with a lower learning rate for the body than for the head.

    The gradient of both together is clipped by its global norm first.

    Args:
        learning_rate: peak learning rate of the head.
        body_ratio: the body's learning rate as a fraction of the head's.
        warmup_steps, total_steps: of the linear warm-up and decay, in updates.
        clip_norm: largest global norm of the gradient.

    Reference: Howard & Ruder 2018, "ULMFiT", section 3.2 (discriminative rates).
    """
    rates = {"head": learning_rate, "body": learning_rate * body_ratio}
    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.multi_transform(
            {
                part: optax.adam(schedule(rate, warmup_steps, total_steps))
                for part, rate in rates.items()
            },
            {part: part for part in rates},
        ),
    )


def head_loss(link: str, scores: jax.Array, targets: jax.Array) -> jax.Array:
    """Return the cross-entropy of each text, float32[B].

    Args:
        link: "sigmoid" (the sum over independent columns) or "softmax".
        scores: float32[B, K].
        targets: float32[B, K], 0 or 1.
    """
    if link == "softmax":
        return optax.softmax_cross_entropy(scores, targets)
    return optax.sigmoid_binary_cross_entropy(scores, targets).sum(axis=1)


def head_step(
    state: TrainState,
    standard: Standard,
    carry: RecurrentState,
    tokens: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    *,
    link: str,
    lm_weight: float,
) -> tuple[TrainState, HeadMetrics]:
    """Take one optimizer step on this device's texts, averaged over all devices.

    The loss is the mean loss of the head over the texts of all devices plus `lm_weight`
    times the language model's nats per byte. If the gradient is not finite on any
    device, all devices skip the update and the loss scale halves.

    Args:
        state: params {"body": ..., "head": {"coef" [K, F], "intercept" [K]}}.
        standard: standardisation of the head's features.
        carry: the state before `tokens`, [B, L*H]; gradients stop there.
        tokens: uint8[T, B], the last bytes of each text.
        targets: float32[B, K], 0 or 1.
        weights: float32[B], 0 for padding rows.
        link: as for `head_loss`.
        lm_weight: weight of the language model's loss.

    Returns:
        The new state, equal on all devices, and the metrics.
    """
    devices = jax.lax.psum(1, AXIS)
    texts = jax.lax.psum(weights.sum(), AXIS)
    lengths = (weights * (len(tokens) - 1)).astype(jnp.int32)
    predicted = jax.lax.psum(lengths.sum(), AXIS)

    def loss(effective):
        reset = jnp.zeros(tokens.shape[1], bool)
        out = state.apply_fn({"params": effective["body"]}, tokens, carry, reset)
        # The head reads only the last layer.
        cell = out["state"].cell[:, -len(standard.mean) :]
        scores = scores_of(effective["head"], standard, cell)
        head = jnp.sum(head_loss(link, scores, targets) * weights) / texts
        nats = cross_entropy(out["logits"][:-1], tokens, lengths)
        # The later pmean divides by the number of devices, but `texts` and `predicted`
        # already count all devices.
        total = (head + lm_weight * nats / jnp.maximum(predicted, 1)) * devices
        return state.loss_scale.scale * total, (head, nats)

    effective = _fold_body(state.params)
    gradient, (head, nats) = mean_gradient(loss, effective, jnp.float32)
    state, finite, _ = apply_gradient(state, gradient, _fold_body)
    head, nats = jax.lax.psum((head, nats), AXIS)
    return state, HeadMetrics(head, nats, predicted, (~finite).astype(jnp.int32))


def _fold_body(params: dict) -> dict:
    """Apply weight norm to the parameters of the language model."""
    return params | {"body": fold_weight_norm(params["body"])}


def scores_of(head: dict, standard: Standard, cell: jax.Array) -> jax.Array:
    """Return the scores of the head, float32[B, K], for cells float32[B, F]."""
    features = (cell - standard.mean[None]) / standard.scale[None]
    return features @ head["coef"].T + head["intercept"][None]
