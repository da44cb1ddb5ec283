"""What a training run is about to do, in words."""

import math

import jax

from sdjax.cell import flops_per_character
from sdjax.memory import step_memory
from sdjax.model import LanguageModel, init_params
from sdjax.windows import Windows


def summary(
    model: LanguageModel,
    windows: Windows,
    *,
    batch_size: int,
    window_size: int,
    devices: int,
    total_steps: int,
    learning_rate: float,
) -> str:
    """Say what is about to happen, one line a figure.

    Args:
        batch_size: rows over all devices.
        window_size: bytes of a row per update.
        devices: of all processes together.
        total_steps: updates in all.
        learning_rate: the highest of the schedule.
    """
    params = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    count = sum(math.prod(x.shape) for x in jax.tree.leaves(params))
    flops = flops_per_character(
        model.cell,
        model.hidden_size,
        model.embedding_size,
        model.vocabulary_size,
        model.num_layers,
    )
    memory = _memory(model, count, batch_size // devices, window_size)
    rows = {
        "devices": f"{devices} x {jax.local_devices()[0].device_kind}",
        "model": f"{model.cell}, {_units(model)}, {model.precision}",
        "parameters": f"{count:,}",
        "characters per update": f"{batch_size * window_size:,}",
        "updates per epoch": f"{len(windows):,} ({windows.padding:.1%} padding)",
        "updates in all": f"{total_steps:,}",
        "learning rate after scaling": f"{learning_rate:.2e}",
        "FLOPs per character": f"{flops / 1e6:,.1f} million",
        "memory per device, about": memory,
    }
    return "\n".join(f"{name:<28} {value}" for name, value in rows.items())


def _units(model: LanguageModel) -> str:
    stack = f"{model.num_layers} layers of " if model.num_layers > 1 else ""
    return f"{stack}{model.hidden_size} units"


def _memory(model: LanguageModel, parameters: int, rows: int, length: int) -> str:
    """Say how much memory of a device a step needs, and how much there is."""
    needed = step_memory(
        cell=model.cell,
        hidden_size=model.hidden_size,
        embedding_size=model.embedding_size,
        vocabulary_size=model.vocabulary_size,
        parameters=parameters,
        precision=model.precision,
        batch_size=rows,
        window_size=length,
        num_layers=model.num_layers,
    )
    text = f"{needed.total / 1e9:,.2f} GB, {needed.state / 1e9:,.2f} of them the state"
    there = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if there is None:  # a CPU
        return text
    short = " - likely too little" if there < needed.total else ""
    return f"{text}; the device has {there / 1e9:,.2f} GB{short}"
