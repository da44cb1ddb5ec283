"""The Flax model: weight normalisation, shapes, dtypes, settings that do not exist."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from sdjax.errors import InputError
from sdjax.model.language_model import init_params, weight_norm

ROWS = 3
RECURRENT = {
    "mlstm": {"wx", "wh", "wmx", "wmh", "gx", "gh", "gmx", "gmh", "b"},
    "lstm": {"wx", "wh", "gx", "gh", "b"},
}


@cache
def params_of(model, seed: int = 0):
    return init_params(model, jax.random.key(seed))


def apply(model, params, batch=None):
    batch = tiny.batch(ROWS) if batch is None else batch
    carry = tiny.carry(ROWS, precision=model.precision)
    return model.apply({"params": params}, batch.tokens[:-1], carry, batch.reset)


def test_weight_norm_equals_numpy():
    rng = np.random.default_rng(0)
    v, g = rng.normal(size=(5, 7)), rng.normal(size=7)
    expected = np.stack(
        [g[j] * v[:, j] / np.sqrt(np.sum(v[:, j] ** 2)) for j in range(7)]
    )
    got = weight_norm(v.astype(np.float32), g.astype(np.float32))
    np.testing.assert_allclose(got, expected.T, rtol=1e-5)


@pytest.mark.parametrize("norm", [300.0, 1e5])
def test_weight_norm_is_right_where_a_norm_in_half_precision_overflows(norm):
    """Squares sum to more than 65,504, or the norm itself is more than that."""
    rng = np.random.default_rng(0)
    v = rng.normal(size=(1000, 3))
    v = (v * norm / np.linalg.norm(v, axis=0)).astype(np.float16)
    g = np.array([0.5, 2.0, 40.0], np.float32)
    exact = np.float64(v)
    exact *= g / np.linalg.norm(exact, axis=0)
    got = weight_norm(v.astype(np.float32), g).astype(jnp.float16)
    largest = np.abs(exact).max(axis=0)
    assert (np.abs(np.float64(got) - exact).max(axis=0) <= 1e-3 * largest).all()
    naive = jnp.sqrt(jnp.sum(jnp.asarray(v) ** 2, axis=0))
    assert naive.dtype == jnp.float16
    assert jnp.isinf(naive).all()


@pytest.mark.parametrize("factor", [300.0, 1e5])
def test_a_half_precision_model_takes_directions_of_any_length(factor, tolerances):
    model = tiny.model("fp16")
    params = params_of(model)
    longer = {
        k: factor * v if k[0] == "w" else v for k, v in params["recurrent"].items()
    }
    assert (
        max(np.linalg.norm(v, axis=0).max() for v in longer.values() if v.ndim > 1)
        > 256
    )
    np.testing.assert_allclose(
        apply(model, params | {"recurrent": longer})["logits"],
        apply(model, params)["logits"],
        **tolerances["float16"],
    )


@pytest.mark.parametrize("cell", ["mlstm", "lstm"])
def test_at_initialisation_weight_norm_equals_the_plain_layer(cell, tolerances):
    normed, plain = tiny.model(cell=cell), tiny.model(cell=cell, use_weight_norm=False)
    params = params_of(normed)
    recurrent = {k: v for k, v in params["recurrent"].items() if k[0] != "g"}
    without = params | {"recurrent": recurrent}
    assert jax.tree.structure(without) == jax.tree.structure(params_of(plain))
    np.testing.assert_allclose(
        apply(normed, params)["logits"],
        apply(plain, without)["logits"],
        **tolerances["float32"],
    )


@pytest.mark.parametrize("cell", ["mlstm", "lstm"])
def test_only_the_recurrent_matrices_have_a_length(cell):
    params = params_of(tiny.model(cell=cell))
    assert set(params) == {"embedding", "recurrent", "output"}
    assert set(params["recurrent"]) == RECURRENT[cell]
    assert set(params["embedding"]) == {"embedding"}
    assert set(params["output"]) == {"kernel", "bias"}
    for name in RECURRENT[cell] - {"b"}:
        v = params["recurrent"][name.replace("g", "w")]
        g = params["recurrent"][name.replace("w", "g")]
        assert g.shape == v.shape[1:]
        np.testing.assert_allclose(g, np.linalg.norm(v, axis=0), rtol=1e-5)


def test_scaling_a_direction_changes_nothing_and_scaling_its_length_does(tolerances):
    model = tiny.model()
    params = params_of(model)
    logits = apply(model, params)["logits"]

    def scaled(name):
        weights = params["recurrent"] | {name: 3 * params["recurrent"][name]}
        return apply(model, params | {"recurrent": weights})["logits"]

    np.testing.assert_allclose(scaled("wmh"), logits, **tolerances["float32"])
    assert not np.allclose(scaled("gmh"), logits, rtol=1e-2)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_parameters_logits_and_cell_are_float32_in_every_precision(precision):
    model = tiny.model(precision)
    params = params_of(model)
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    out = apply(model, params)
    assert out["logits"].dtype == jnp.float32
    assert out["logits"].shape == (6, ROWS, 256)
    assert out["state"].cell.dtype == jnp.float32
    assert out["state"].hidden.dtype == model.zero_state(1).hidden.dtype


@pytest.mark.numerics
@pytest.mark.parametrize(
    ("precision", "kind"), [("bf16", "bfloat16"), ("fp16", "float16")]
)
def test_half_precision_is_near_float32(precision, kind, tolerances):
    full, half = tiny.model(), tiny.model(precision)
    params = params_of(full)
    np.testing.assert_allclose(
        apply(half, params)["logits"], apply(full, params)["logits"], **tolerances[kind]
    )


@pytest.mark.parametrize("cell", ["mlstm", "lstm"])
def test_reading_for_training_encoding_and_tracing_agree(cell, tolerances):
    """Three ways through the same recurrence end in the same state."""
    model = tiny.model(cell=cell)
    variables = {"params": params_of(model)}
    tokens = tiny.batch(ROWS).tokens[:-1]
    start = tiny.carry(ROWS)
    read = model.apply(variables, tokens, start, np.zeros(ROWS, bool))["state"]
    lengths = np.full(ROWS, len(tokens), np.int32)
    encoded = model.apply(variables, tokens, start, lengths, method="encode")
    cells, traced = model.apply(variables, tokens, start, method="trace")
    for other in (encoded, traced):
        for x, y in zip(other, read, strict=True):
            np.testing.assert_allclose(x, y, **tolerances["float32"])
    np.testing.assert_allclose(cells[-1], read.cell, **tolerances["float32"])


def test_each_byte_changes_what_is_predicted_after_it_and_nothing_before():
    model = tiny.model()
    params, batch = params_of(model), tiny.batch(ROWS)
    changed = batch.tokens.copy()
    changed[3, 1] ^= 1
    before = apply(model, params, batch)["logits"]
    after = apply(model, params, batch._replace(tokens=changed))["logits"]
    np.testing.assert_array_equal(before[:3], after[:3])
    np.testing.assert_array_equal(before[:, 0], after[:, 0])
    assert (before[3:, 1] != after[3:, 1]).any(axis=1).all()


def test_initialisation_is_a_function_of_the_key():
    model = tiny.model()
    tiny.assert_trees_equal(
        init_params(model, jax.random.key(0)), init_params(model, jax.random.key(0))
    )
    other = params_of(model, seed=1)["recurrent"]["wmh"]
    assert (params_of(model)["recurrent"]["wmh"] != other).any()


def test_hidden_matrices_start_orthogonal_and_the_forget_gate_open():
    params = params_of(tiny.model())["recurrent"]
    for gate in np.split(np.asarray(params["wh"]), 4, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(tiny.HIDDEN), atol=1e-5)
    i, f, o, u = np.split(np.asarray(params["b"]), 4)
    assert (f == 1).all()
    assert not np.concatenate([i, o, u]).any()


def test_a_cell_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(InputError, match="'gru' does not exist.*mlstm.*lstm"):
        params_of(tiny.model(cell="gru"))


def test_a_precision_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(InputError, match="'fp8' does not exist.*fp32.*bf16.*fp16"):
        params_of(tiny.model("fp8"))


def test_memory_span_spreads_the_forget_gates_over_one_to_that_many_bytes():
    spans = {}
    for span in (0, 100):
        params = init_params(tiny.model(memory_span=span), jax.random.key(0))
        i, f, o, u = np.split(np.asarray(params["recurrent"]["b"]), 4)
        assert not o.any() and not u.any()
        spans[span] = i, f
    np.testing.assert_array_equal(spans[0][0], 0)
    np.testing.assert_array_equal(spans[0][1], 1)
    np.testing.assert_allclose(spans[100][0], -spans[100][1])
    assert 0 < spans[100][1].min() < spans[100][1].max() <= np.log(100)
