"""Every config builds, is read in full, and has the shapes that it promises."""

import ast
import importlib
import inspect
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import train
from configs import default
from sdjax.data.windows import Batch
from sdjax.errors import InputError
from sdjax.model.cell import RecurrentState
from sdjax.model.devices import AXIS
from sdjax.model.language_model import init_params
from sdjax.model.precision import loss_scale
from sdjax.training.step import train_step

ROOT = Path(__file__).parents[1]
NAMES = sorted({p.stem for p in (ROOT / "configs").glob("[a-z]*.py")} - {"checks"})
DEVICES = 8


def load(name: str):
    return importlib.import_module(f"configs.{name}")


def flat(config) -> dict:
    """Return the config's values by dotted key."""
    values = {}
    for key, value in config.to_dict().items():
        if isinstance(value, dict):
            values |= {f"{key}.{inner}": v for inner, v in value.items()}
        else:
            values[key] = value
    return values


def keys_that_train_reads() -> set[str]:
    """Collect `config.a.b`, and the names that `**config.a` is passed on to."""
    tree, keys = ast.parse((ROOT / "train.py").read_text()), set()
    keys |= {f"loss_scale.{name}" for name in inspect.signature(loss_scale).parameters}
    keys.discard("loss_scale.precision")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            parts = ast.unparse(node).split(".")
            if parts[0] == "config":
                keys.add(".".join(parts[1:]))
    return keys


def parameters(name: str) -> int:
    model = train.build_model(load(name).get_config())
    shapes = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    return sum(math.prod(x.shape) for x in jax.tree.leaves(shapes))


def test_the_configs_of_the_reproduction_are_there():
    assert {
        "default",
        "quickstart",
        "imdb",
        "mlstm4k",
        "mlstm8k",
        "lstm4k",
        "mlstm4k_fp32",
        "mlstm4k_bf16",
        "mlstm4k_large_batch",
    } <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_config_has_the_keys_and_types_of_the_default_and_no_others(name):
    """A typo in a config would add a key that nothing reads."""
    config, expected = flat(load(name).get_config()), flat(default.get_config())
    assert {k: type(v) for k, v in config.items()} == {
        k: type(v) for k, v in expected.items()
    }


@pytest.mark.parametrize("name", [name for name in NAMES if name != "default"])
def test_a_config_gives_the_command_that_runs_it(name):
    assert (
        f"python train.py --config configs/{name}.py --workdir " in load(name).__doc__
    )


def test_every_key_is_read():
    assert set(flat(default.get_config())) <= keys_that_train_reads()


def test_no_key_is_read_that_does_not_exist():
    methods = {"to_dict", "keys", "model", "loss_scale"}
    known = set(flat(default.get_config())) | methods
    assert keys_that_train_reads() <= known
    assert "config.get(" not in (ROOT / "train.py").read_text()


def test_a_locked_config_refuses_a_typo_and_another_type():
    config = default.get_config().lock()
    with pytest.raises(AttributeError):
        config.model.hiden_size = 3
    with pytest.raises(TypeError):
        config.global_batch_size = "many"


@pytest.mark.parametrize("name", NAMES)
def test_a_config_builds_and_its_step_keeps_every_shape(name):
    """Nothing is allocated: abstract arrays through init and the step."""
    config = load(name).get_config()
    train.check(config)
    training = train.build_training(config, windows_per_epoch=1000)
    assert training.total_steps > 0
    rows, left_over = divmod(config.global_batch_size, DEVICES)
    assert left_over == 0
    state = jax.eval_shape(lambda: train.initial_state(config, training))
    one = jax.eval_shape(lambda: training.model.zero_state(rows))
    carry = RecurrentState(
        *(jax.ShapeDtypeStruct((DEVICES, *x.shape), x.dtype) for x in one)
    )
    batch = Batch(
        jax.ShapeDtypeStruct((DEVICES, config.window_size + 1, rows), jnp.uint8),
        jax.ShapeDtypeStruct((DEVICES, rows), jnp.int32),
        jax.ShapeDtypeStruct((DEVICES, rows), jnp.bool_),
    )
    step = jax.vmap(
        train_step, axis_name=AXIS, in_axes=(None, 0, 0), out_axes=(None, 0, None)
    )
    new_state, new_carry, metrics = jax.eval_shape(step, state, carry, batch)

    def shapes(tree):
        return jax.tree.map(lambda x: (x.shape, x.dtype), tree)

    assert shapes(new_state) == shapes(state)
    assert shapes(new_carry) == shapes(carry)
    assert {x.shape for x in metrics} == {()}
    width = config.model.hidden_size
    assert state.params["recurrent"]["wh"].shape == (width, 4 * width)
    assert {x.dtype for x in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("default", 5e-4),
        ("mlstm4k", 4e-3),
        ("mlstm8k", 4e-3),
        ("lstm4k", 4e-3),
        ("mlstm4k_large_batch", 3e-3),
    ],
)
def test_the_learning_rate_after_scaling_is_that_of_the_paper(name, peak):
    config = load(name).get_config()
    training = train.build_training(config, windows_per_epoch=1000)
    rate = float(training.learning_rate(config.warmup_steps))
    assert rate == pytest.approx(peak, rel=1e-5)


def test_the_settings_of_the_reproduction_are_those_of_the_paper():
    config = load("mlstm4k").get_config()
    assert config.model.to_dict() == {
        "cell": "mlstm",
        "hidden_size": 4096,
        "embedding_size": 64,
        "num_layers": 1,
        "vocabulary_size": 0,
        "use_weight_norm": True,
        "memory_span": 0.0,
    }
    assert (config.global_batch_size, config.window_size) == (1024, 256)
    assert (config.precision, config.clip_norm) == ("fp16", 1.0)
    assert load("mlstm8k").get_config().model.hidden_size == 8192
    assert load("mlstm4k_fp32").get_config().precision == "fp32"
    assert load("mlstm4k_bf16").get_config().precision == "bf16"


def test_the_lstm_has_as_many_parameters_as_the_mlstm():
    assert load("lstm4k").get_config().model.cell == "lstm"
    assert parameters("lstm4k") == pytest.approx(parameters("mlstm4k"), rel=2e-3)


def test_the_memory_of_a_config_is_told_without_a_corpus_or_a_workdir():
    config = load("mlstm8k").get_config()
    lines = train.memory_on(config, 8).splitlines()
    about, on_device, most, on_host, most_from_host = lines
    assert most.endswith("767 of 80 GB, 1,404 of 141 GB")
    assert most_from_host.endswith("796 of 80 GB, 1,432 of 141 GB")
    assert f"{parameters('mlstm8k'):,} parameters" in about and "128 rows" in about
    # 12 bytes a parameter there, or 2 there and 32 here.
    assert "4.08 of them the state" in on_device and "host" not in on_device
    assert "0.68 of them the state" in on_host and "host 10.89 GB" in on_host
    with pytest.raises(InputError, match="1024 cannot be spread over 7 devices"):
        train.memory_on(config, 7)


@pytest.mark.parametrize(
    "key", ["master_params", "all_reduce_dtype", "matmul_precision"]
)
def test_a_choice_that_is_none_is_refused_with_those_that_are(key):
    config = default.get_config()
    config[key] = "elsewhere"
    with pytest.raises(InputError, match=f"config.{key} is 'elsewhere': use .* or "):
        train.check(config)
