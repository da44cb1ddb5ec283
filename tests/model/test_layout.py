"""Which layout is used where, and that everything that has a loop can have either."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from numpy.testing import assert_allclose

from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.inference.sampling import Sampling, generate
from sdjax.model import layout, pooling
from sdjax.model.language_model import init_params
from sdjax.model.layout import BATCH_MAJOR, FEATURE_MAJOR, LAYOUTS, choose

ROWS = 4


def test_the_platform_chooses_unless_the_name_or_the_environment_does(monkeypatch):
    monkeypatch.delenv(layout.VARIABLE, raising=False)
    assert choose(platform="cpu") is FEATURE_MAJOR
    assert choose(platform="gpu") is BATCH_MAJOR
    assert choose("feature-major", platform="gpu") is FEATURE_MAJOR
    monkeypatch.setenv(layout.VARIABLE, "batch-major")
    assert choose(platform="cpu") is BATCH_MAJOR
    assert choose("feature-major") is FEATURE_MAJOR


def test_a_layout_that_does_not_exist_is_refused(monkeypatch):
    with pytest.raises(InputError, match="layout 'row-major' does not exist: use"):
        choose("row-major")
    monkeypatch.setenv(layout.VARIABLE, "sideways")
    with pytest.raises(InputError, match="layout 'sideways' does not exist: use"):
        choose()


def on_a_gpu(monkeypatch, version: str) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "__version__", version)


@pytest.mark.parametrize("rows, refused", [(32, True), (16, False), (64, False)])
def test_where_a_bias_would_go_to_the_wrong_axis_a_run_is_refused(
    rows, refused, monkeypatch
):
    """Feature-major on CUDA, as many rows as four times the units."""
    on_a_gpu(monkeypatch, "0.10.2")
    model = tiny.model(layout="feature-major")
    assert 4 * model.hidden_size == 32
    tokens = jnp.zeros((2, rows), jnp.uint8)
    arguments = tokens, model.zero_state(rows), jnp.ones(rows, bool)
    if refused:
        with pytest.raises(InputError, match="8 units, 32 rows .* 0.10.2 would train"):
            jax.eval_shape(model.init, jax.random.key(0), *arguments)
    else:
        jax.eval_shape(model.init, jax.random.key(0), *arguments)


@pytest.mark.parametrize(
    "name, version", [("batch-major", "0.10.2"), ("feature-major", "0.12.0.1")]
)
def test_what_is_not_affected_is_not_refused(name, version, monkeypatch):
    on_a_gpu(monkeypatch, version)
    bias = LAYOUTS[name].bias(jnp.zeros(32), 32)
    assert bias.shape == ((1, 32) if name == "batch-major" else (32, 1))


@pytest.mark.parametrize("cell", ["mlstm", "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_model_gives_the_same_in_either_layout(cell, layers, tolerances):
    results = []
    for name in LAYOUTS:
        model = tiny.model(cell=cell, num_layers=layers, layout=name)
        params = init_params(model, jax.random.key(0))
        tokens = tiny.batch(ROWS).tokens
        lengths, zero = jnp.array([6, 3, 1, 0]), model.zero_state(ROWS)

        def apply(method, *arguments, model=model, params=params):
            return model.apply({"params": params}, *arguments, method=method)

        pools = pooling.start(("mean", "max"), ROWS, model.state_size)
        pools = jax.tree.map(jnp.asarray, pools)
        results.append(
            (
                apply(None, tokens, zero, jnp.ones(ROWS, bool)),
                apply("encode", tokens, zero, lengths),
                apply("pool", tokens, zero, pools, lengths, "cell", "all"),
                apply("trace", tokens, zero, "hidden", "all"),
            )
        )

    def close(a, b):  # the maximum over no bytes is minus infinity in both
        assert_allclose(a, b, **tolerances["float32"])

    jax.tree.map(close, *results)


def test_samples_with_a_unit_held_are_the_same_in_either_layout():
    texts = []
    for name in LAYOUTS:
        model = tiny.model(num_layers=2, layout=name)
        params = init_params(model, jax.random.key(0))
        hold = ({}, {3: 2.0, (0, 1): -1.0})
        options = {"hold": hold, "samples": 2, "sampling": Sampling(length=12, seed=3)}
        texts.append(generate(model, params, Normalisation(), prefix="a", **options))
    assert texts[0] == texts[1]
    assert np.shape(texts[0]) == (2, 2)
