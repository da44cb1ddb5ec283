"""Parameters on the host: the same training as with parameters on the devices.

Both placements compute the same two halves of a step, on the devices in one program.
XLA fuses weight norm with what reads it, where that reads float32: there the last bits
part. In half precision, and without weight norm, they do not.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from fixtures_training import last_saved, log, signal_at

from sdjax.errors import InputError
from sdjax.model.devices import replicate, spread
from sdjax.model.language_model import working_copy
from sdjax.model.precision import policy
from sdjax.training import loop, parallel
from sdjax.training.parallel import host_train_step, parallel_train_step, to_host

ROWS, STEPS, BROKEN = 8, 5, 2


def take_steps(step, state, devices: int, precision: str):
    """Take steps, one of them from a carry that is not finite; all on the host."""
    carry, seen = tiny.carry(ROWS, precision=precision), []
    carry = tiny.on_devices(carry, devices)
    for seed in range(STEPS):
        if seed == BROKEN:
            carry = jax.tree.map(np.array, jax.device_get(carry))
            carry.hidden[0, -1, 0] = np.inf  # the first row of a batch is reset
        carry = spread(carry, jax.local_devices()[:devices])
        batch = tiny.on_devices(tiny.batch(ROWS, seed=seed), devices)
        state, carry, metrics = step(state, carry, batch)
        seen.append(metrics)
    return jax.device_get((state, carry, seen))


def both(precision: str, devices: int, reduce: str, **settings):
    """Train with parameters on the devices, and on the host."""
    model, used = tiny.model(precision, **settings), jax.local_devices()[:devices]
    dtype = policy(precision if reduce == "compute" else "fp32").compute_dtype
    start = jax.device_get(tiny.train_state(model))
    on_devices = parallel_train_step(used, dtype)
    on_host = host_train_step(model, used, dtype)
    return (
        take_steps(on_devices, replicate(start, used), devices, precision),
        take_steps(on_host, to_host(start), devices, precision),
    )


# Each value of everything, and both ways to make a bias that is not new.
FEW = [
    ("mlstm", True, "fp16", 4, "fp32"),
    ("mlstm", True, "fp32", 4, "compute"),
    ("lstm", True, "bf16", 4, "compute"),
    ("mlstm", False, "fp32", 1, "compute"),
]
ALL = [
    (cell, norm, precision, devices, reduce)
    for cell in ("mlstm", "lstm")
    for norm in (True, False)
    for precision in ("fp32", "bf16", "fp16")
    for devices in (1, 4)
    for reduce in ("fp32", "compute")
]


@pytest.mark.parametrize(
    "cell, norm, precision, devices, reduce",
    FEW
    + [pytest.param(*case, marks=pytest.mark.slow) for case in ALL if case not in FEW],
)
def test_the_host_trains_as_the_devices_do(
    cell, norm, precision, devices, reduce, tolerances
):
    expected, got = both(precision, devices, reduce, cell=cell, use_weight_norm=norm)
    skipped = [int(metrics.skipped) for metrics in got[2]]
    assert skipped == [seed == BROKEN for seed in range(STEPS)]
    if norm and precision == "fp32":
        for x, y in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
            np.testing.assert_allclose(x, y, **tolerances["float32"])
    else:
        tiny.assert_trees_equal(*map(jax.tree.leaves, (got, expected)))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_devices_get_matrices_in_the_compute_dtype_and_nothing_of_the_host_s(precision):
    """Without weight norm and in fp32 the copy is no different, but still a copy."""
    model = tiny.model(precision, use_weight_norm=False)
    dtype = policy(precision).compute_dtype
    params = tiny.train_state(model).params
    copy = jax.jit(partial(working_copy, compute_dtype=dtype))(params)
    assert jax.tree.structure(copy) == jax.tree.structure(params)
    for new, old in zip(*map(jax.tree.leaves, (copy, params)), strict=True):
        assert new.dtype == (dtype if new.ndim > 1 else jnp.float32)
        assert new.unsafe_buffer_pointer() != old.unsafe_buffer_pointer()


def test_weight_norm_is_folded_into_every_layer():
    layer = {
        "wx": jnp.array([[3.0, 0.0], [4.0, 2.0]]),
        "gx": jnp.array([10.0, 1.0]),
        "wh": jnp.array([[5.0, 6.0]]),
        "b": jnp.array([7.0, 8.0]),
    }
    params = {"recurrent": layer, "recurrent_1": layer, "output": {"gx": layer["gx"]}}
    folded = working_copy(params, jnp.dtype(jnp.float32))
    assert folded.keys() == params.keys()
    for name in ("recurrent", "recurrent_1"):
        assert folded[name].keys() == {"wx", "wh", "b"}
        np.testing.assert_allclose(folded[name]["wx"], [[6, 0], [8, 1]], rtol=1e-6)
        np.testing.assert_array_equal(folded[name]["wh"], layer["wh"])
    np.testing.assert_array_equal(folded["output"]["gx"], layer["gx"])


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    corpus = tiny.corpus(tmp_path_factory.mktemp("offload") / "corpus")
    settings = {"precision": "bf16", "eval_batch_size": 1}
    return tiny.config(corpus.folder, **settings)


def with_params_on(place: str, config):
    return type(config)(config.to_dict() | {"master_params": place})


def test_a_run_may_move_its_parameters_when_it_goes_on(config, tmp_path, monkeypatch):
    """Begun on the host, ended on the devices: no bit differs from the devices alone.

    What is logged has the bits per character of valid in it.
    """
    two = jax.local_devices()[:2]
    devices, moved = tmp_path / "devices", tmp_path / "moved"
    loop.train(with_params_on("device", config), devices, two)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        signal_at(patch, 6)
        loop.train(with_params_on("host", config), moved, two)
    begun = len(log(moved))
    assert 0 < begun < len(log(devices))
    loop.train(with_params_on("device", config), moved, two)
    assert log(moved) == log(devices)
    expected, got = (last_saved(config, workdir) for workdir in (devices, moved))
    tiny.assert_trees_equal(*map(jax.tree.leaves, (got[1:], expected[1:])))


def test_a_machine_without_the_cpu_backend_is_told_how_to_have_it(monkeypatch):
    def no_cpu(backend):
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr(parallel.jax, "local_devices", no_cpu)
    with pytest.raises(InputError, match="JAX_PLATFORMS .* add ,cpu"):
        to_host(np.zeros(1))
