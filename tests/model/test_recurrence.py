"""The recurrence against NumPy float64, against a plain scan, and against itself."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from jax.extend.core import jaxprs_in_params
from numpy.testing import assert_allclose, assert_array_equal

from sdjax.model import recurrence
from sdjax.model.cell import LSTMWeights, MLSTMWeights, RecurrentState
from sdjax.model.layout import BATCH_MAJOR, FEATURE_MAJOR, LAYOUTS
from sdjax.training.cost import flops_per_character

T, B, E, H = 7, 3, 4, 5
WEIGHTS = {"mlstm": MLSTMWeights, "lstm": LSTMWeights}
HALF = {"bfloat16": jnp.bfloat16, "float16": jnp.float16}
NO_RESET = jnp.zeros(B, bool)
# The recurrence in both layouts, and the plain scan.
RUNS = {
    "feature-major": partial(recurrence.unroll, layout=FEATURE_MAJOR),
    "batch-major": partial(recurrence.unroll, layout=BATCH_MAJOR),
    "scan": recurrence.scan_reference,
}


@pytest.fixture(params=WEIGHTS)
def cell(request):
    return request.param


@pytest.fixture
def weights(cell):
    rng = np.random.default_rng(1)
    shapes = {"wx": (E, 4 * H), "wh": (H, 4 * H), "b": (4 * H,)}
    if cell == "mlstm":
        shapes |= {"wmx": (E, H), "wmh": (H, H)}
    # Large enough that gates saturate here and there and every term counts.
    values = {k: jnp.asarray(rng.normal(size=s), "f4") for k, s in shapes.items()}
    return WEIGHTS[cell](**values)


@pytest.fixture
def inputs():
    return jnp.asarray(np.random.default_rng(2).normal(size=(T, B, E)), "f4")


@pytest.fixture
def state():
    values = np.random.default_rng(3).normal(size=(2, B, H))
    return RecurrentState(*jnp.asarray(0.5 * values, "f4"))


@pytest.fixture
def cotangents():
    """The loss' gradient in hidden [T, B, H] and in the last state."""
    rng = np.random.default_rng(4)
    last = RecurrentState(*jnp.asarray(rng.normal(size=(2, B, H)), "f4"))
    return jnp.asarray(rng.normal(size=(T, B, H)), "f4"), last


def outputs_and_gradients(
    name, weights, inputs, state, cotangents, reset=NO_RESET, dtype=jnp.float32
):
    """Outputs, and gradients of a loss whose slope in them is `cotangents`."""

    def loss(weights, inputs):
        outputs = RUNS[name](weights, inputs, state, reset, dtype)
        products = jax.tree.map(lambda a, b: jnp.sum(a * b), outputs, cotangents)
        return sum(jax.tree.leaves(products)), outputs

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    grads, outputs = gradient(weights, inputs)
    return outputs, grads


def run_oracle(weights, inputs, state):
    w = oracle.as_float64(weights._asdict())
    arrays = [np.asarray(a, np.float64) for a in (inputs, *state)]
    return w, oracle.run(w, *arrays)


def assert_trees_close(actual, expected, **tolerance):
    jax.tree.map(partial(assert_allclose, **tolerance), actual, expected)


@pytest.mark.numerics
@pytest.mark.parametrize("name", RUNS)
def test_forward_is_the_equations(name, weights, inputs, state, tolerances):
    _, (hiddens, cells, _) = run_oracle(weights, inputs, state)
    hidden, end = RUNS[name](weights, inputs, state, NO_RESET)
    assert_allclose(hidden, hiddens, **tolerances["oracle"])
    assert_allclose(end.hidden, hiddens[-1], **tolerances["oracle"])
    assert_allclose(end.cell, cells[-1], **tolerances["oracle"])


def test_the_oracles_gradient_is_the_slope(weights, inputs, state, tolerances):
    w, (_, _, tape) = run_oracle(weights, inputs, state)
    arrays = [np.asarray(a, np.float64) for a in (inputs, *state)]
    c = np.random.default_rng(5).normal(size=(T, B, H))
    d_cell = np.random.default_rng(6).normal(size=(B, H))

    def loss(w, inputs):
        hiddens, cells, _ = oracle.run(w, inputs, *arrays[1:])
        return np.sum(c * hiddens) + np.sum(d_cell * cells[-1])

    grads, d_inputs = oracle.gradients(w, tape, c, np.zeros((B, H)), d_cell)
    for name, value in w.items():
        slope = oracle.numerical_gradient(
            lambda v, name=name: loss(w | {name: v}, arrays[0]), value
        )
        assert_allclose(grads[name], slope, rtol=1e-6, atol=1e-7)
    slope = oracle.numerical_gradient(lambda x: loss(w, x), arrays[0])
    assert_allclose(d_inputs, slope, rtol=1e-6, atol=1e-7)


@pytest.mark.numerics
@pytest.mark.parametrize("name", RUNS)
def test_gradients_are_the_oracles(
    name, weights, inputs, state, cotangents, tolerances
):
    w, (_, _, tape) = run_oracle(weights, inputs, state)
    d_hidden, last = jax.tree.map(lambda a: np.asarray(a, np.float64), cotangents)
    expected, d_inputs = oracle.gradients(w, tape, d_hidden, *last)
    _, (grads, actual) = outputs_and_gradients(name, weights, inputs, state, cotangents)
    assert_trees_close(grads._asdict(), expected, **tolerances["oracle"])
    assert_allclose(actual, d_inputs, **tolerances["oracle"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_run_is_the_plain_scan(layout, weights, inputs, state, cotangents, tolerances):
    reset = jnp.array([False, True, False])
    results = [
        outputs_and_gradients(name, weights, inputs, state, cotangents, reset)
        for name in (layout, "scan")
    ]
    # Sums of T x B products in another order: not closer than the oracle's bound.
    assert_trees_close(*results, **tolerances["oracle"])


def relative(actual, expected):
    """Largest difference over largest value."""
    actual, expected = (np.asarray(a, np.float64) for a in (actual, expected))
    return np.abs(actual - expected).max() / np.abs(expected).max()


@pytest.mark.numerics
@pytest.mark.parametrize("layout", LAYOUTS)
# bfloat16 has 8 bits of mantissa, float16 has 11; 48 steps add up their rounding.
@pytest.mark.parametrize(
    "dtype, bound", [(jnp.float32, 1e-5), (jnp.bfloat16, 5e-2), (jnp.float16, 5e-3)]
)
def test_a_window_of_real_size_agrees_with_float64_on_the_device_itself(
    dtype, bound, layout
):
    """Compilers have had wrong results at sizes that choose other kernels.

    `alpha * (A @ B + b)` compiled as `alpha * (A @ B) + b` (openxla/xla issue 46110)
    and a bias on the wrong axis (46897) both show here: no bias is zero.
    """
    steps, rows, inner, width = 48, 16, 32, 128
    rng = np.random.default_rng(0)

    def normal(*shape, scale=1.0):
        # Values that every dtype holds exactly, so that only the sums differ.
        values = (scale * rng.normal(size=shape)).astype("f4")
        return jnp.asarray(values).astype(jnp.bfloat16).astype(jnp.float16).astype("f4")

    weights = MLSTMWeights(
        wx=normal(inner, 4 * width, scale=inner**-0.5),
        wh=normal(width, 4 * width, scale=width**-0.5),
        wmx=normal(inner, width, scale=inner**-0.5),
        wmh=normal(width, width, scale=width**-0.5),
        b=normal(4 * width),
    )
    inputs = normal(steps, rows, inner)
    state = RecurrentState(normal(rows, width), normal(rows, width))
    d_hidden = normal(steps, rows, width)
    last = RecurrentState(normal(rows, width), normal(rows, width))
    _, (hiddens, cells, tape) = run_oracle(weights, inputs, state)
    w = oracle.as_float64(weights._asdict())
    wanted, d_inputs = oracle.gradients(
        w, tape, *(np.asarray(a, np.float64) for a in (d_hidden, *last))
    )
    reset = jnp.zeros(rows, bool)
    (hidden, end), (grads, d_x) = outputs_and_gradients(
        layout, weights, inputs, state, (d_hidden, last), reset, dtype
    )
    assert relative(hidden, hiddens) < bound
    assert relative(end.cell, cells[-1]) < bound
    assert relative(d_x, d_inputs) < bound
    for name, value in grads._asdict().items():
        assert relative(value, wanted[name]) < bound, name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_scan_is_a_loop(layout, weights, inputs, state, tolerances):
    run = jax.jit(RUNS[layout])
    hidden, end = run(weights, inputs, state, NO_RESET)
    for t in range(T):
        one, state = run(weights, inputs[t : t + 1], state, NO_RESET)
        assert_allclose(one[0], hidden[t], **tolerances["float32"])
    assert_trees_close(state, end, **tolerances["float32"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_windows_with_carry_are_one_long_window(
    layout, weights, inputs, state, tolerances
):
    hidden, end = RUNS[layout](weights, inputs, state, NO_RESET)
    first, state = RUNS[layout](weights, inputs[:3], state, NO_RESET)
    second, state = RUNS[layout](weights, inputs[3:], state, NO_RESET)
    assert_allclose(jnp.concatenate([first, second]), hidden, **tolerances["float32"])
    assert_trees_close(state, end, **tolerances["float32"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reset_rows_start_from_zero_and_the_others_do_not(
    layout, weights, inputs, state
):
    reset = jnp.array([False, True, False])
    rows = state.cell.at[1].set(0), state.hidden.at[1].set(0)
    cleared = RecurrentState(hidden=rows[1], cell=rows[0])
    run = jax.jit(RUNS[layout])
    actual = run(weights, inputs, state, reset)
    expected = run(weights, inputs, cleared, NO_RESET)
    jax.tree.map(assert_array_equal, actual, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_reset_row_forgets_even_a_state_that_is_not_finite(
    layout, weights, inputs, state
):
    state = jax.tree.map(lambda a: a.at[1].set(jnp.nan), state)
    reset = jnp.array([False, True, False])
    hidden, end = RUNS[layout](weights, inputs, state, reset)
    assert jnp.isfinite(hidden).all() and jnp.isfinite(end.cell).all()


@pytest.mark.parametrize("name", RUNS)
def test_no_gradient_into_the_incoming_state(name, weights, inputs, state):
    def loss(state):
        hidden, end = RUNS[name](weights, inputs, state, NO_RESET)
        return jnp.sum(hidden) + jnp.sum(end.cell)

    jax.tree.map(lambda g: assert_array_equal(g, 0), jax.grad(loss)(state))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_forward_stops_each_row_at_its_length(
    layout, weights, inputs, state, tolerances
):
    lengths = jnp.array([0, 4, T])
    end = recurrence.final_state(weights, inputs, state, lengths, layout=layout)
    for row, length in enumerate(lengths):
        alone = jax.tree.map(lambda a, r=row: a[r : r + 1], state)
        x = inputs[: max(1, int(length)), row : row + 1]
        alone = recurrence.final_state(
            weights, x, alone, lengths[row : row + 1], layout=layout
        )
        for a, b in zip(alone, end, strict=True):
            assert_allclose(a[0], b[row], **tolerances["float32"])
    assert_array_equal(end.cell[0], state.cell[0])


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_forward_of_a_row_does_not_depend_on_padding_or_batch_mates(
    layout, weights, inputs, state
):
    lengths = jnp.array([2, 4, 5])
    forward = jax.jit(partial(recurrence.final_state, layout=layout))
    expected = forward(weights, inputs, state, lengths)
    # What lies after a text, and the other rows, become not-a-number.
    padded = jnp.where(jnp.arange(T)[:, None, None] < 4, inputs, jnp.nan)
    others = padded.at[:, 0].set(jnp.nan).at[:, 2].set(jnp.nan)
    actual = forward(weights, others, state, lengths)
    for a, b in zip(actual, expected, strict=True):
        assert_array_equal(a[1], b[1])


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_forward_and_trace_end_where_run_ends(
    layout, weights, inputs, state, tolerances
):
    hidden, end = recurrence.unroll(weights, inputs, state, NO_RESET, layout=layout)
    full = recurrence.final_state(weights, inputs, state, jnp.full(B, T), layout=layout)
    cells, last = recurrence.all_states(weights, inputs, state, layout=layout)
    assert cells.shape == (T, B, H) and cells.dtype == jnp.float32
    assert_array_equal(cells[-1], last.cell)
    for other in (full, last):
        assert_trees_close(other, end, **tolerances["float32"])
    _, (_, oracle_cells, _) = run_oracle(weights, inputs, state)
    assert_allclose(cells, oracle_cells, **tolerances["oracle"])


@pytest.mark.numerics
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", HALF)
def test_half_precision_is_close_to_float32(
    name, layout, weights, inputs, state, cotangents, tolerances
):
    # Smaller weights: an mLSTM with large ones amplifies any rounding, ours or not.
    weights = jax.tree.map(lambda w: 0.5 * w, weights)

    def results(dtype):
        return outputs_and_gradients(
            layout, weights, inputs, state, cotangents, dtype=dtype
        )

    (hidden, end), grads = results(HALF[name])
    assert hidden.dtype == end.hidden.dtype == HALF[name]
    assert end.cell.dtype == jnp.float32
    assert all(g.dtype == jnp.float32 for g in jax.tree.leaves(grads))

    def assert_close(actual, expected):
        scale = np.abs(expected).max()  # a gradient's errors are relative to its size
        actual, expected = np.asarray(actual, "f4"), np.asarray(expected)
        assert_allclose(actual / scale, expected / scale, **tolerances[name])

    jax.tree.map(assert_close, ((hidden, end), grads), results(jnp.float32))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_weight_gradients_are_products_outside_the_loop(layout, weights, inputs, state):
    def loss(weights):
        hidden, _ = recurrence.unroll(weights, inputs, state, NO_RESET, layout=layout)
        return jnp.sum(hidden)

    jaxpr = jax.make_jaxpr(jax.grad(loss))(weights).jaxpr

    def products(jaxpr):
        """Shapes of the results of all products, loops entered."""
        for eqn in jaxpr.eqns:
            if eqn.primitive.name == "dot_general":
                yield eqn.outvars[0].aval.shape
            for sub in jaxprs_in_params(eqn.params):
                yield from products(sub)

    loops = [e for e in jaxpr.eqns if e.primitive.name == "scan"]
    assert len(loops) == 2
    for loop in loops:
        shapes = list(products(loop.params["jaxpr"].jaxpr))
        assert shapes and all(shape[not layout.axis] == B for shape in shapes)


def test_flops_count_the_products():
    h, e, v = 4096, 64, 256
    mlstm = 5 * h * h + 5 * e * h + h * v
    assert flops_per_character("mlstm", h, e, v) == 6 * mlstm
    lstm = 4 * h * h + 4 * e * h + h * v
    assert flops_per_character("lstm", h, e, v) == 6 * lstm
