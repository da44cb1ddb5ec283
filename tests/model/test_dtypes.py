"""Which array has which dtype where: the compiled step against docs/precision.md.

The jaxpr of the step is read, that of every loop and inner call included: what counts
is what runs, not what the source seems to say.
"""

from collections import Counter
from functools import cache

import jax
import jax.numpy as jnp
import optax
import pytest
import tiny
from jax.extend import core

from sdjax.model.devices import AXIS
from sdjax.model.layout import LAYOUTS
from sdjax.model.precision import POLICIES, policy
from sdjax.training.step import eval_step, train_step

REPLICAS, ROWS = 2, 4
HALF = {jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float16)}
CELLS = ["mlstm", "lstm"]
# What may touch a half-precision array: products, which accumulate in float32, and
# what moves or tests numbers without computing any.
MOVES = {
    *("broadcast_in_dim", "concatenate", "convert_element_type", "dynamic_slice"),
    *("dynamic_update_slice", "empty", "is_finite", "reshape", "select_n", "slice"),
    *("squeeze", "stop_gradient", "transpose"),
}
# These hold other equations, which are looked at by themselves.
CALLS = {"custom_vjp_call", "jit", "scan", "shard_map", "while"}


def equations(jaxpr):
    """Yield every equation, those inside loops and calls included."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in jax.tree.leaves(value, is_leaf=is_jaxpr):
                if is_jaxpr(inner):
                    yield from equations(getattr(inner, "jaxpr", inner))


def is_jaxpr(value) -> bool:
    return isinstance(value, core.Jaxpr | core.ClosedJaxpr)


def inputs(precision: str, cell: str = "mlstm", layout: str = "feature-major"):
    """Return state, carry and batch of a step, shapes and dtypes only."""
    model = tiny.model(precision, cell=cell, layout=layout)
    state = jax.eval_shape(lambda: tiny.train_state(model))
    carry = tiny.on_devices(tiny.carry(ROWS, precision=precision), REPLICAS)
    return state, carry, tiny.on_devices(tiny.batch(ROWS), REPLICAS)


def traced(step, axes, out_axes, *arguments) -> list:
    """Trace a step over two devices, as it is run."""
    devices = jax.devices()[:REPLICAS]
    mapped = jax.pmap(
        step, axis_name=AXIS, in_axes=axes, out_axes=out_axes, devices=devices
    )
    return list(equations(jax.make_jaxpr(mapped)(*arguments).jaxpr))


@cache
def step_equations(
    precision: str, cell: str = "mlstm", layout: str = "feature-major", step=train_step
) -> list:
    """Trace one data-parallel training step."""
    return traced(step, (None, 0, 0), (None, 0, None), *inputs(precision, cell, layout))


def dtypes(variables) -> list[jnp.dtype]:
    return [v.aval.dtype for v in variables if hasattr(v.aval, "dtype")]


def computing_in_half(found) -> Counter:
    """Count, by primitive, what is computed in half precision outside of products."""
    return Counter(
        equation.primitive.name
        for equation in found
        if HALF & {*dtypes(equation.invars), *dtypes(equation.outvars)}
        and equation.primitive.name not in MOVES | CALLS | {"dot_general"}
    )


# Batch-major, x Wmx and the gradient from the output layer leave their product rounded.
ROUNDED = {
    ("feature-major", "mlstm"): 0,
    ("feature-major", "lstm"): 0,
    ("batch-major", "mlstm"): 2,
    ("batch-major", "lstm"): 1,
}


@pytest.mark.parametrize("layout, cell", ROUNDED)
@pytest.mark.parametrize("precision", POLICIES)
def test_every_product_has_operands_in_the_compute_dtype_and_a_float32_result(
    precision, layout, cell
):
    wanted = policy(precision).compute_dtype
    products = [
        equation
        for equation in step_equations(precision, cell, layout)
        if equation.primitive.name == "dot_general"
    ]
    # The cell's and the output layer's, forward and both gradients of each.
    assert len(products) >= 3 * {"mlstm": 4, "lstm": 2}[cell] - 1
    for equation in products:
        assert dtypes(equation.invars) == [wanted, wanted], equation
    results = Counter(str(dtypes(equation.outvars)[0]) for equation in products)
    rounded = ROUNDED[layout, cell] if wanted != jnp.float32 else 0
    assert results["float32"] == len(products) - rounded
    if rounded:
        assert results[str(wanted)] == rounded


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_nothing_else_is_computed_in_half(precision, cell, layout):
    """Gates, softmax, loss, sums, norms, clipping, Adam and unscaling are float32."""
    assert not computing_in_half(step_equations(precision, cell, layout))


def test_a_step_that_computes_in_half_would_be_caught():
    """The check above is worth something: a half-precision norm fails it."""

    def careless_step(state, carry, batch):
        state, carry, metrics = train_step(state, carry, batch)
        half = jax.tree.map(lambda x: x.astype(jnp.float16), state.params)
        return state, carry, metrics._replace(grad_norm=optax.tree.norm(half))

    found = computing_in_half(step_equations("fp16", step=careless_step))
    assert found["square"] and found["add"]


@pytest.mark.parametrize("precision", POLICIES)
def test_what_stays_between_steps_is_float32_but_for_the_hidden_state(precision):
    before = inputs(precision)
    step = jax.vmap(
        train_step, axis_name=AXIS, in_axes=(None, 0, 0), out_axes=(None, 0, None)
    )
    for state, carry, *_ in before, jax.eval_shape(step, *before):
        kinds = {x.dtype for x in jax.tree.leaves((state.params, state.opt_state))}
        assert kinds == {jnp.dtype(jnp.float32), jnp.dtype(jnp.int32)}
        assert state.loss_scale.scale.dtype == jnp.float32
        assert carry.cell.dtype == jnp.float32
        assert carry.hidden.dtype == policy(precision).compute_dtype


@pytest.mark.parametrize("precision", POLICIES)
def test_metrics_and_what_replicas_exchange_are_float32(precision):
    found = step_equations(precision)
    sums = [
        e for e in found if e.primitive.name in ("reduce_sum", "psum", "reduce_max")
    ]
    assert sums
    for equation in sums:
        assert not HALF & {*dtypes(equation.invars), *dtypes(equation.outvars)}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_evaluation_computes_nothing_in_half_either(precision):
    model, (state, carry, batch) = tiny.model(precision), inputs(precision)

    def step(params, carry, batch):
        return eval_step(model, params, carry, batch)

    found = traced(step, (None, 0, 0), (0, None), state.params, carry, batch)
    assert not computing_in_half(found)
