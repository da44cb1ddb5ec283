"""Layers on top of each other: against NumPy float64 and the plain scan."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import tiny
from numpy.testing import assert_allclose, assert_array_equal

from sdjax.errors import InputError
from sdjax.model import pooling, recurrence
from sdjax.model.cell import (
    LSTMWeights,
    MLSTMWeights,
    RecurrentState,
    join_layers,
    split_layers,
)
from sdjax.model.language_model import init_params
from sdjax.model.layout import BATCH_MAJOR, FEATURE_MAJOR, LAYOUTS
from sdjax.training.cost import flops_per_character

T, B, E, H = 7, 3, 4, 5
WEIGHTS = {"mlstm": MLSTMWeights, "lstm": LSTMWeights}


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype("f4")


def make_stack(cell: str, layers: int):
    def layer(number):
        inner = H if number else E
        shapes = {"wx": (inner, 4 * H), "wh": (H, 4 * H), "b": (4 * H,)}
        if cell == "mlstm":
            shapes |= {"wmx": (inner, H), "wmh": (H, H)}
        # Large enough that every term counts, small enough that a stack of mLSTMs does
        # not amplify the rounding of float32 beyond the bound.
        return WEIGHTS[cell](
            **{
                name: 0.5 * normal([number, i], *shape)
                for i, (name, shape) in enumerate(shapes.items())
            }
        )

    return tuple(map(layer, range(layers)))


@pytest.fixture(params=[("mlstm", 3), ("lstm", 2)], ids=str)
def stack(request):
    return make_stack(*request.param)


INPUTS = normal(1, T, B, E)


def state_of(stack) -> RecurrentState:
    return RecurrentState(*(0.5 * normal(2, 2, B, len(stack) * H)))


def run_oracle(stack, inputs, state):
    layers = [oracle.as_float64(weights._asdict()) for weights in stack]
    arrays = [np.asarray(a, np.float64) for a in (inputs, *state)]
    return layers, *oracle.run_stack(layers, *arrays)


def test_the_oracles_gradient_is_the_slope():
    stack = make_stack("mlstm", 2)
    layers, _, _, tapes = run_oracle(stack, INPUTS, state_of(stack))
    state = [np.asarray(a, np.float64) for a in state_of(stack)]
    c, d_cell = normal(5, T, B, H).astype("f8"), normal(6, B, 2 * H).astype("f8")

    def loss(wx):
        changed = [layers[0] | {"wx": wx}, layers[1]]
        hiddens, cells, _ = oracle.run_stack(changed, INPUTS, *state)
        return np.sum(c * hiddens[..., -H:]) + np.sum(d_cell * cells[-1])

    grads, _ = oracle.stack_gradients(layers, tapes, c, np.zeros((B, 2 * H)), d_cell)
    slope = oracle.numerical_gradient(loss, layers[0]["wx"])
    assert_allclose(grads[0]["wx"], slope, rtol=1e-6, atol=1e-7)


# The recurrence in both layouts, and the plain scan.
RUNS = {
    "feature-major": partial(recurrence.unroll, layout=FEATURE_MAJOR),
    "batch-major": partial(recurrence.unroll, layout=BATCH_MAJOR),
    "scan": recurrence.scan_reference,
}


@pytest.mark.numerics
@pytest.mark.parametrize("name", RUNS)
def test_outputs_and_gradients_are_the_equations(name, stack, tolerances):
    state, width = state_of(stack), len(stack) * H
    d_hiddens = normal(3, T, B, H)
    d_end = RecurrentState(*normal(4, 2, B, width))

    def loss(stack, inputs):
        reset = jnp.zeros(B, bool)
        outputs = RUNS[name](stack, inputs, state, reset)
        slopes = (d_hiddens, d_end)
        products = jax.tree.map(lambda a, b: jnp.sum(a * b), outputs, slopes)
        return sum(jax.tree.leaves(products)), outputs

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (grads, d_inputs), (hidden, end) = gradient(stack, INPUTS)
    layers, hiddens, cells, tapes = run_oracle(stack, INPUTS, state)
    close = partial(assert_allclose, **tolerances["oracle"])
    close(hidden, hiddens[..., -H:])
    close(end.hidden, hiddens[-1])
    close(end.cell, cells[-1])
    slopes = (np.asarray(a, np.float64) for a in (d_hiddens, *d_end))
    expected, d_expected = oracle.stack_gradients(layers, tapes, *slopes)
    jax.tree.map(close, [g._asdict() for g in grads], expected)
    close(d_inputs, d_expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("dtype", "kind"), [(jnp.bfloat16, "bfloat16"), (jnp.float16, "float16")]
)
def test_half_precision_is_near_float32(dtype, kind, layout, tolerances):
    stack = jax.tree.map(lambda w: 0.5 * w, make_stack("mlstm", 2))
    reset = jnp.zeros(B, bool)

    def loss(stack, dtype):
        hidden, end = RUNS[layout](stack, INPUTS, state_of(stack), reset, dtype)
        assert hidden.dtype == end.hidden.dtype == dtype
        assert end.cell.dtype == jnp.float32
        return jnp.sum(hidden.astype(jnp.float32)) + jnp.sum(end.cell), end.cell

    gradient = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
    half, full = gradient(stack, jnp.dtype(dtype)), gradient(stack, jnp.dtype("f4"))

    def close(actual, expected):
        assert actual.dtype == jnp.float32
        scale = np.abs(expected).max()  # a gradient's errors are relative to its size
        assert_allclose(actual / scale, expected / scale, **tolerances[kind])

    jax.tree.map(close, half, full)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_windows_with_carry_are_one_long_window(stack, layout, tolerances):
    reset, run = jnp.zeros(B, bool), jax.jit(RUNS[layout])
    whole, end = run(stack, INPUTS, state_of(stack), reset)
    first, between = run(stack, INPUTS[:3], state_of(stack), reset)
    second, last = run(stack, INPUTS[3:], between, reset)
    close = partial(assert_allclose, **tolerances["float32"])
    close(np.concatenate([first, second]), whole)
    jax.tree.map(close, last, end)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_reset_row_starts_from_zero_in_every_layer(layout, tolerances):
    stack = make_stack("mlstm", 2)
    state, run = state_of(stack), jax.jit(RUNS[layout])
    zeros = jax.tree.map(np.zeros_like, state)
    reset = np.array([False, True, False])
    _, mixed = run(stack, INPUTS, state, reset)
    _, fresh = run(stack, INPUTS, zeros, ~reset)
    for part, new in zip(mixed, fresh, strict=True):
        assert_allclose(part[1], new[1], **tolerances["float32"])


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("of", ["cell", "hidden"])
@pytest.mark.parametrize("layers", ["last", "all"])
def test_encoding_tracing_and_pooling_are_the_equations(of, layers, layout, tolerances):
    stack = make_stack("mlstm", 3)
    zero = RecurrentState(*jnp.zeros((2, B, 3 * H)))
    _, hiddens, cells, _ = run_oracle(stack, INPUTS, zero)
    inputs, lengths = jnp.asarray(INPUTS), jnp.array([T, 3, 1])
    states = {"hidden": hiddens, "cell": cells}
    columns = slice(-H, None) if layers == "last" else slice(None)
    close = partial(assert_allclose, **tolerances["oracle"])
    wanted = {"layers": layers, "layout": layout}
    traced, _ = recurrence.all_states(stack, inputs, zero, of=of, **wanted)
    close(traced, states[of][..., columns])
    encoded = recurrence.final_state(stack, inputs, zero, lengths, layout=layout)
    pools = pooling.start(("mean", "max", "min"), B, traced.shape[-1])
    pools = jax.tree.map(jnp.asarray, pools)
    end, pools = pooling.pooled_states(
        stack, inputs, zero, pools, lengths, of, **wanted
    )
    for row, length in enumerate(lengths):
        for state in (encoded, end):
            close(state.hidden[row], hiddens[length - 1, row])
            close(state.cell[row], cells[length - 1, row])
        read = states[of][:length, row, columns]
        close((pools.total + pools.lost)[row], read.sum(axis=0))
        close(pools.maximum[row], read.max(axis=0))
        close(pools.minimum[row], read.min(axis=0))


def test_layers_are_joined_as_they_were_split():
    state = state_of(make_stack("mlstm", 3))
    parts = split_layers(state, 3)
    assert_array_equal(parts[1].cell, state.cell[:, H : 2 * H])
    tiny.assert_trees_equal(join_layers(parts), state)


def test_flops_of_a_stack():
    h, e, v = 64, 10, 26
    first, above = 5 * h * (h + e), 5 * h * (h + h)
    assert flops_per_character("mlstm", h, e, v, 4) == 6 * (first + 3 * above + h * v)


@cache
def params_of(model):
    return init_params(model, jax.random.key(0))


def test_the_parameters_of_layers_have_their_own_names_and_the_first_its_old_one():
    one, three = tiny.model(), tiny.model(num_layers=3)
    assert set(params_of(three)) == {
        "embedding",
        "output",
        "recurrent",
        "recurrent_1",
        "recurrent_2",
    }
    # What a seed gives for the first layer does not depend on those above it.
    tiny.assert_trees_equal(params_of(three)["recurrent"], params_of(one)["recurrent"])
    assert params_of(three)["recurrent_2"]["wx"].shape == (tiny.HIDDEN, 4 * tiny.HIDDEN)
    assert three.zero_state(2).cell.shape == (2, 3 * tiny.HIDDEN) == (2, 24)


def test_logits_of_a_stacked_model_are_the_equations(tolerances):
    model = tiny.model(num_layers=3)
    params, batch = params_of(model), tiny.batch(B)
    out = model.apply(
        {"params": params}, batch.tokens[:-1], model.zero_state(B), np.ones(B, bool)
    )
    layers = []
    for name in ("recurrent", "recurrent_1", "recurrent_2"):
        w = oracle.as_float64(params[name])
        for key in ("wx", "wh", "wmx", "wmh"):
            length = np.sqrt((w[key] ** 2).sum(axis=0))
            w[key] = w[key] * w.pop(key.replace("w", "g")) / length
        layers.append(w)
    embedded = np.asarray(params["embedding"]["embedding"], "f8")[batch.tokens[:-1]]
    hiddens, cells, _ = oracle.run_stack(layers, embedded, *np.zeros((2, B, 24)))
    output = oracle.as_float64(params["output"])
    logits = hiddens[..., -tiny.HIDDEN :] @ output["kernel"] + output["bias"]
    assert_allclose(out["logits"], logits, **tolerances["oracle"])
    assert_allclose(out["state"].cell, cells[-1], **tolerances["oracle"])


def test_no_layers_is_refused():
    with pytest.raises(InputError, match="num_layers is 0: it must be 1 or above"):
        init_params(tiny.model(num_layers=0), jax.random.key(0))
