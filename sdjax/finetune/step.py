"""One step of fine-tuning on one device: a classifier's head and the model under it."""

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
    """What the head's features are scaled by, fixed in training: float32[F] each."""

    mean: jax.Array
    scale: jax.Array


class HeadMetrics(NamedTuple):
    """What one step reports, over all devices; all 0-d.

    loss: float32, of the head, mean over texts; NaN where it is not finite.
    nats: float32, summed cross-entropy of the bytes predicted.
    predicted: int32, bytes predicted.
    skipped: int32, 1 if the update was left out.
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
    """Return Adam with a smaller rate for the body, behind clipping of both together.

    Args:
        learning_rate: peak rate of the head.
        body_ratio: the language model's rate is this part of it.
        warmup_steps, total_steps: of the linear warm-up and decay, in updates.

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
        link: "sigmoid" (each column on its own; their sum) or "softmax".
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
    """Take one optimizer step on this device's texts; replicas end up equal.

    The loss is the head's, mean over the texts of all devices, plus `lm_weight` times
    the language model's nats per byte. An update whose gradient is not finite anywhere
    is left out everywhere, and the loss scale halves.

    Args:
        state: params {"body": ..., "head": {"coef" [K, F], "intercept" [K]}}.
        standard: of the features.
        carry: the state before `tokens`, [B, L*H]; no gradient goes into it.
        tokens: uint8[T, B], the last bytes of each text.
        targets: float32[B, K].
        weights: float32[B], 0 for texts that do not count.
    """
    devices = jax.lax.psum(1, AXIS)
    texts = jax.lax.psum(weights.sum(), AXIS)
    lengths = (weights * (len(tokens) - 1)).astype(jnp.int32)
    predicted = jax.lax.psum(lengths.sum(), AXIS)

    def loss(effective):
        reset = jnp.zeros(tokens.shape[1], bool)
        out = state.apply_fn({"params": effective["body"]}, tokens, carry, reset)
        # The head reads the last layer alone.
        cell = out["state"].cell[:, -len(standard.mean) :]
        scores = scores_of(effective["head"], standard, cell)
        head = jnp.sum(head_loss(link, scores, targets) * weights) / texts
        nats = cross_entropy(out["logits"][:-1], tokens, lengths)
        # pmean divides by the number of devices; the means wanted are over all of them.
        total = (head + lm_weight * nats / jnp.maximum(predicted, 1)) * devices
        return state.loss_scale.scale * total, (head, nats)

    effective = _fold_body(state.params)
    gradient, (head, nats) = mean_gradient(loss, effective, jnp.float32)
    state, finite, _ = apply_gradient(state, gradient, _fold_body)
    head, nats = jax.lax.psum((head, nats), AXIS)
    return state, HeadMetrics(head, nats, predicted, (~finite).astype(jnp.int32))


def _fold_body(params: dict) -> dict:
    """Apply weight norm to the language model's part of the parameters."""
    return params | {"body": fold_weight_norm(params["body"])}


def scores_of(head: dict, standard: Standard, cell: jax.Array) -> jax.Array:
    """Return float32[B, K] for cells float32[B, F]."""
    features = (cell - standard.mean[None]) / standard.scale[None]
    return features @ head["coef"].T + head["intercept"][None]
