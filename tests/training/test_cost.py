"""The predicted memory of a step is what XLA plans for it."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import pytest

from sdjax.data.windows import Batch
from sdjax.model.language_model import (
    LanguageModel,
    fold_weight_norm,
    init_params,
    working_copy,
)
from sdjax.model.precision import loss_scale, policy
from sdjax.training.cost import StepMemory, step_memory
from sdjax.training.optimizer import optimizer
from sdjax.training.parallel import gradients_on_devices, parallel_train_step
from sdjax.training.step import create_train_state, update_step

H, E, V = 128, 16, 256


def shapes(model: LanguageModel, rows: int, length: int):
    """Return state, carry and batch of one device."""
    tx = optimizer(lambda _: 1e-3, clip_norm=1.0, b1=0.9, b2=0.999, eps=1e-8)
    scale = loss_scale(model.precision)

    def start():
        return create_train_state(
            model, tx, scale, init_params(model, jax.random.key(0))
        )

    array = jax.ShapeDtypeStruct
    batch = Batch(
        array((1, length + 1, rows), jnp.uint8),
        array((1, rows), jnp.int32),
        array((1, rows), jnp.bool_),
    )
    carry = jax.eval_shape(
        lambda: jax.tree.map(lambda x: x[None], model.zero_state(rows))
    )
    return jax.eval_shape(start), carry, batch


def planned(compiled) -> int:
    """Return the bytes that XLA plans; an output may lie where an argument was."""
    used = compiled.memory_analysis()
    new = used.output_size_in_bytes - used.alias_size_in_bytes
    return used.argument_size_in_bytes + used.temp_size_in_bytes + new


def on_a_device(model, place: str, rows: int, length: int) -> int:
    """Compile what a device runs, from shapes alone; return the bytes it needs."""
    state, carry, batch = shapes(model, rows, length)
    if place == "device":
        step = parallel_train_step(jax.local_devices()[:1])
        return planned(step.lower(state, carry, batch).compile())
    dtype = policy(model.precision).compute_dtype
    copy = jax.eval_shape(partial(working_copy, compute_dtype=dtype), state.params)
    step = gradients_on_devices(model)
    return planned(step.lower(copy, state.loss_scale.scale, carry, batch).compile())


def predicted(model, place: str, rows: int, length: int) -> StepMemory:
    state, *_ = shapes(model, rows, length)
    return step_memory(
        cell=model.cell,
        hidden_size=model.hidden_size,
        embedding_size=model.embedding_size,
        vocabulary_size=V,
        parameters=sum(math.prod(p.shape) for p in jax.tree.leaves(state.params)),
        precision=model.precision,
        batch_size=rows,
        window_size=length,
        num_layers=model.num_layers,
        master_params=place,
    )


@pytest.mark.parametrize(
    "cell, place, rows, length, layers",
    [
        ("mlstm", "device", 4, 8, 1),
        ("mlstm", "device", 32, 64, 1),
        ("lstm", "device", 32, 64, 1),
        ("mlstm", "device", 32, 64, 3),
        ("mlstm", "host", 32, 64, 1),
    ],
)
def test_the_prediction_is_what_xla_plans(cell, place, rows, length, layers):
    model = LanguageModel(cell, H, E, V, num_layers=layers)
    expected = on_a_device(model, place, rows, length)
    total = predicted(model, place, rows, length).total
    assert total == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_with_the_state_on_the_host_a_device_is_spared_what_is_predicted(precision):
    """In half precision a CPU plans more for the products, in either place."""
    model = LanguageModel("mlstm", 4 * H, 4 * E, V, precision=precision)
    spared, saved = (
        of(model, "device", 32, 64) - of(model, "host", 32, 64)
        for of in (lambda *shape: predicted(*shape).total, on_a_device)
    )
    assert spared == pytest.approx(saved, rel=0.2)


def test_what_the_host_needs_is_at_least_what_xla_plans_for_the_update():
    """How many arrays it keeps at once varies with their size: 2 to 4 of each."""
    model = LanguageModel("mlstm", H, E, V)
    state, *_ = shapes(model, 4, 8)
    gradient = jax.eval_shape(fold_weight_norm, state.params)
    update = jax.jit(update_step, donate_argnums=0).lower(state, gradient).compile()
    memory = predicted(model, "host", 4, 8)
    assert planned(update) <= memory.host <= 1.35 * planned(update)
    assert predicted(model, "device", 4, 8).host == 0


def test_half_precision_needs_less_for_the_window_and_as_much_for_the_state():
    sizes = {"hidden_size": H, "embedding_size": E, "vocabulary_size": V}
    rest = {"cell": "mlstm", "parameters": 10**6, "batch_size": 8, "window_size": 32}
    full = step_memory(**sizes, **rest, precision="fp32")
    half = step_memory(**sizes, **rest, precision="bf16")
    assert half.state == full.state
    assert 0.5 < half.window / full.window < 0.65


def test_what_goes_between_host_and_device_by_precision_and_average():
    sizes = {"hidden_size": H, "embedding_size": E, "vocabulary_size": V}
    rest = {"cell": "mlstm", "parameters": 10**6, "batch_size": 8, "window_size": 32}
    for precision, average, copied, state in (
        ("fp32", "fp32", 8, 4),
        ("fp16", "fp32", 6, 2),
        ("fp16", "compute", 4, 2),
    ):
        memory = step_memory(
            **sizes,
            **rest,
            precision=precision,
            master_params="host",
            all_reduce_dtype=average,
        )
        assert (memory.copied, memory.state) == (copied * 10**6, state * 10**6)
