"""What a training run is about to do, in words."""

import bisect
import math

import jax

from sdjax.data.windows import Windows
from sdjax.model.language_model import LanguageModel, init_params
from sdjax.training.cost import StepMemory, flops_per_character, step_memory

CARDS = (80, 141)  # GB of memory, H100 and H200
# What jax takes of a card's memory, unless XLA_PYTHON_CLIENT_MEM_FRACTION says else.
_USABLE = 0.75


def summary(
    model: LanguageModel,
    windows: Windows,
    *,
    batch_size: int,
    window_size: int,
    devices: int,
    total_steps: int,
    learning_rate: float,
    master_params: str = "device",
    all_reduce_dtype: str = "fp32",
) -> str:
    """Say what is about to happen, one line a figure.

    Args:
        batch_size: rows over all devices.
        window_size: bytes of a row per update.
        devices: of all processes together.
        total_steps: updates in all.
        learning_rate: the highest of the schedule.
        master_params, all_reduce_dtype: as for `step_memory`.
    """
    parameters = _parameters(model)  # first: it refuses a cell that does not exist
    flops = flops_per_character(
        model.cell,
        model.hidden_size,
        model.embedding_size,
        model.vocabulary_size,
        model.num_layers,
    )
    memory = _memory(
        model,
        batch_size // devices,
        window_size,
        master_params,
        all_reduce_dtype,
        jax.default_backend(),
    )
    rows = {
        "devices": f"{devices} x {jax.local_devices()[0].device_kind}",
        "model": f"{model.cell}, {_units(model)}, {model.precision}",
        "parameters": f"{parameters:,}",
        "characters per update": f"{batch_size * window_size:,}",
        "updates per epoch": f"{len(windows):,} ({windows.padding:.1%} padding)",
        "updates in all": f"{total_steps:,}",
        "learning rate after scaling": f"{learning_rate:.2e}",
        "FLOPs per character": f"{flops / 1e6:,.1f} million",
        "memory per device, about": _on_device(memory),
    }
    if memory.host:
        rows["memory of the host, about"] = _on_host(memory)
    return "\n".join(f"{name:<28} {value}" for name, value in rows.items())


def memory_summary(
    model: LanguageModel, *, rows: int, window_size: int, all_reduce_dtype: str
) -> str:
    """Say what memory a step takes on GPUs, with the parameters in either place.

    Args:
        rows: of the batch on each device.
        window_size: bytes of a row per update.
        all_reduce_dtype: as for `step_memory`.
    """
    lines = [
        f"{model.cell}, {_units(model)}, {_parameters(model):,} parameters,"
        f" {model.precision}; {rows} rows of {window_size} bytes on each device; about"
    ]
    settings = window_size, all_reduce_dtype
    for place in ("device", "host"):
        memory = _memory(model, rows, window_size, place, all_reduce_dtype, "gpu")
        text = f"master_params={place:<8} per device {_on_device(memory)}"
        lines.append(text + (f"; host {_on_host(memory)}" if memory.host else ""))
        most = (f"{_most_rows(model, n, place, *settings):,} of {n} GB" for n in CARDS)
        share = f"{_USABLE:.0%} of a card, which jax takes"
        lines.append(f"{'':22} rows at most in {share}: {', '.join(most)}")
    return "\n".join(lines)


def _most_rows(
    model: LanguageModel, gigabytes: int, place: str, length: int, average: str
) -> int:
    """Return how many rows of a batch fit on a card, 0 if not one does."""
    room = gigabytes * 10**9 * _USABLE

    def fits(rows: int) -> bool:
        return _memory(model, rows, length, place, average, "gpu").total <= room

    return bisect.bisect_left(range(1, 2**16), True, key=lambda rows: not fits(rows))


def _units(model: LanguageModel) -> str:
    stack = f"{model.num_layers} layers of " if model.num_layers > 1 else ""
    return f"{stack}{model.hidden_size} units"


def _parameters(model: LanguageModel) -> int:
    """Count them; nothing is allocated."""
    params = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    return sum(math.prod(x.shape) for x in jax.tree.leaves(params))


def _memory(
    model: LanguageModel,
    rows: int,
    length: int,
    place: str,
    all_reduce_dtype: str,
    platform: str,
) -> StepMemory:
    return step_memory(
        cell=model.cell,
        hidden_size=model.hidden_size,
        embedding_size=model.embedding_size,
        vocabulary_size=model.vocabulary_size,
        parameters=_parameters(model),
        precision=model.precision,
        batch_size=rows,
        window_size=length,
        num_layers=model.num_layers,
        master_params=place,
        all_reduce_dtype=all_reduce_dtype,
        platform=platform,
    )


def _on_device(memory: StepMemory) -> str:
    """Say how much memory of a device a step needs, and how much there is."""
    text = f"{memory.total / 1e9:,.2f} GB, of which state {memory.state / 1e9:,.2f} GB"
    there = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if there is None:  # a CPU
        return text
    short = " - likely too little" if there < memory.total else ""
    return f"{text}; the device has {there / 1e9:,.2f} GB{short}"


def _on_host(memory: StepMemory) -> str:
    copied = f"{memory.copied / 1e9:,.2f} GB copied in each update"
    return f"{memory.host / 1e9:,.2f} GB, {copied}"
