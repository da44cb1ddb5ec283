"""Learning-rate rule, schedule and the optax chain."""

import optax


def scaled_learning_rate(base: float, global_batch_size: int, maximum: float) -> float:
    """Return the peak learning rate by the linear scaling rule, capped.

    Args:
        base: learning rate for a global batch of 128 rows.
        global_batch_size: rows over all devices.
        maximum: the cap.

    Reference: Goyal et al. 2017; the cap of Puri et al. 2018, section 4.
    """
    return min(base * global_batch_size / 128, maximum)


def schedule(peak: float, warmup_steps: int, decay_steps: int) -> optax.Schedule:
    """Return a linear warm-up to `peak`, then a linear decay to 0 at `decay_steps`.

    Both are counted in updates applied, not in batches seen: an update skipped for
    overflow does not use learning rate up.
    """
    decay = optax.linear_schedule(peak, 0.0, decay_steps - warmup_steps)
    if warmup_steps == 0:
        return decay
    warmup = optax.linear_schedule(0.0, peak, warmup_steps)
    return optax.join_schedules([warmup, decay], [warmup_steps])


def optimizer(
    learning_rate: optax.Schedule,
    *,
    clip_norm: float,
    b1: float,
    b2: float,
    eps: float,
) -> optax.GradientTransformation:
    """Return Adam behind clipping by global norm (Radford et al. 2017)."""
    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.adam(learning_rate, b1=b1, b2=b2, eps=eps),
    )
