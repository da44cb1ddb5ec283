"""The predicted memory of a step is what XLA plans for it."""

import math

import jax
import jax.numpy as jnp
import pytest

from sdjax.devices import parallel_train_step
from sdjax.memory import step_memory
from sdjax.model import LanguageModel, init_params
from sdjax.optim import optimizer
from sdjax.precision import loss_scale
from sdjax.step import create_train_state
from sdjax.windows import Batch

H, E, V = 128, 16, 256


def planned(model: LanguageModel, rows: int, length: int):
    """Compile the step, from shapes alone; return bytes and the parameter count."""
    tx = optimizer(lambda _: 1e-3, clip_norm=1.0, b1=0.9, b2=0.999, eps=1e-8)
    scale = loss_scale(model.precision, initial=1.0, growth_interval=10)

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
    state = jax.eval_shape(start)
    carry = jax.eval_shape(
        lambda: jax.tree.map(lambda x: x[None], model.zero_state(rows))
    )
    step = parallel_train_step(jax.local_devices()[:1])
    used = step.lower(state, carry, batch).compile().memory_analysis()
    count = sum(math.prod(p.shape) for p in jax.tree.leaves(state.params))
    return used.argument_size_in_bytes + used.temp_size_in_bytes, count


@pytest.mark.parametrize(
    "cell, rows, length, layers",
    [
        ("mlstm", 4, 8, 1),
        ("mlstm", 32, 64, 1),
        ("lstm", 32, 64, 1),
        ("mlstm", 32, 64, 3),
    ],
)
def test_the_prediction_is_what_xla_plans(cell, rows, length, layers):
    model = LanguageModel(cell, H, E, V, num_layers=layers)
    measured, parameters = planned(model, rows, length)
    predicted = step_memory(
        cell=cell,
        hidden_size=H,
        embedding_size=E,
        vocabulary_size=V,
        parameters=parameters,
        precision="fp32",
        batch_size=rows,
        window_size=length,
        num_layers=layers,
    )
    assert predicted.total == pytest.approx(measured, rel=0.15)


def test_half_precision_needs_less_for_the_window_and_as_much_for_the_state():
    sizes = {"hidden_size": H, "embedding_size": E, "vocabulary_size": V}
    rest = {"cell": "mlstm", "parameters": 10**6, "batch_size": 8, "window_size": 32}
    full = step_memory(**sizes, **rest, precision="fp32")
    half = step_memory(**sizes, **rest, precision="bf16")
    assert half.state == full.state
    assert 0.5 < half.window / full.window < 0.65
