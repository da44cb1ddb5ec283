"""Every config builds, is read in full, and has the shapes that it promises."""

import ast
import inspect
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from sdjax.data.windows import Batch
from sdjax.errors import InputError
from sdjax.model.cell import RecurrentState
from sdjax.model.devices import AXIS
from sdjax.model.language_model import LanguageModel, init_params
from sdjax.model.precision import loss_scale
from sdjax.training.config import defaults
from sdjax.training.config.checks import check
from sdjax.training.config.load import named, names
from sdjax.training.config.model import build_model, with_model
from sdjax.training.run import build_training, describe_memory, initial_state
from sdjax.training.step import train_step

ROOT = Path(__file__).parents[1]
NAMES = names()
DEVICES = 8


def complete(name: str):
    """Return a config for a corpus of bytes, every key of its model with a value."""
    return with_model(named(name), "bytes")


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
    folder, keys = ROOT / "sdjax" / "training", set()
    files = [folder / "run.py", folder / "loop.py", folder / "config" / "model.py"]
    text = "\n".join(path.read_text() for path in files)
    tree = ast.parse(text)
    keys |= {f"loss_scale.{name}" for name in inspect.signature(loss_scale).parameters}
    keys.discard("loss_scale.precision")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            parts = ast.unparse(node).split(".")
            parts = parts[1:] if parts[0] == "run" else parts
            if parts[0] == "config" and parts[1:]:
                keys.add(".".join(parts[1:]))
    # `build_model` passes the model's keys on to the module.
    known = LanguageModel.__dataclass_fields__
    model = defaults.get_config().model
    return keys | {f"model.{key}" for key in model if key in known}


def parameters(name: str) -> int:
    model = build_model(complete(name))
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
    config, expected = flat(complete(name)), flat(complete("default"))
    assert {k: type(v) for k, v in config.items()} == {
        k: type(v) for k, v in expected.items()
    }


@pytest.mark.parametrize("name", [name for name in NAMES if name != "default"])
def test_a_config_gives_the_command_that_runs_it(name):
    assert (
        f"python train.py --config configs/{name}.py --workdir "
        in (ROOT / "configs" / f"{name}.py").read_text()
    )


def test_every_key_is_read():
    assert set(flat(defaults.get_config())) <= keys_that_train_reads()


def test_no_key_is_read_that_does_not_exist():
    methods = {"to_dict", "copy_and_resolve_references", "model", "loss_scale"}
    methods |= {"model.items"}
    known = set(flat(defaults.get_config())) | methods
    assert keys_that_train_reads() <= known


def test_a_locked_config_refuses_a_typo_and_another_type():
    config = defaults.get_config().lock()
    with pytest.raises(AttributeError):
        config.model.hiden_size = 3
    with pytest.raises(TypeError):
        config.global_batch_size = "many"


@pytest.mark.parametrize("name", NAMES)
def test_a_config_builds_and_its_step_keeps_every_shape(name):
    """Nothing is allocated: abstract arrays through init and the step."""
    config = complete(name)
    check(config)
    training = build_training(config, windows_per_epoch=1000)
    assert training.total_steps > 0
    rows, left_over = divmod(config.global_batch_size, DEVICES)
    assert left_over == 0
    state = jax.eval_shape(lambda: initial_state(config, training))
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
    config = complete(name)
    training = build_training(config, windows_per_epoch=1000)
    rate = float(training.learning_rate(config.warmup_steps))
    assert rate == pytest.approx(peak, rel=1e-5)


def test_the_settings_of_the_reproduction_are_those_of_the_paper():
    config = complete("mlstm4k")
    assert config.model.to_dict() == {
        "cell": "mlstm",
        "hidden_size": 4096,
        "embedding_size": 64,
        "num_layers": 1,
        "vocabulary_size": 256,
        "use_weight_norm": True,
        "memory_span": 0.0,
    }
    assert (config.global_batch_size, config.window_size) == (1024, 256)
    assert (config.precision, config.clip_norm) == ("fp16", 1.0)
    assert named("mlstm8k").model.hidden_size == 8192
    assert named("mlstm4k_fp32").precision == "fp32"
    assert named("mlstm4k_bf16").precision == "bf16"


def test_the_lstm_has_as_many_parameters_as_the_mlstm():
    assert named("lstm4k").model.cell == "lstm"
    assert parameters("lstm4k") == pytest.approx(parameters("mlstm4k"), rel=2e-3)


def test_the_memory_of_a_config_is_told_without_a_corpus_or_a_workdir():
    config = named("mlstm8k")
    about, on_device, most, on_host, host_most = describe_memory(config, 8).splitlines()
    # jax 0.12 keeps the gradient of the logits until the end.
    late = tuple(map(int, jax.__version__.split(".")[:2])) >= (0, 12)
    rows = ("766", "1,401"), ("794", "1,429")
    rows = rows if late else (("767", "1,404"), ("796", "1,432"))
    for line, (small, large) in zip((most, host_most), rows, strict=True):
        assert line.endswith(f"{small} of 80 GB, {large} of 141 GB")
    assert f"{parameters('mlstm8k'):,} parameters" in about and "128 rows" in about
    # 12 bytes a parameter there, or 2 there and 32 here.
    assert "of which state 4.08 GB" in on_device and "host" not in on_device
    assert "of which state 0.68 GB" in on_host and "host 10.89 GB" in on_host
    with pytest.raises(InputError, match="1024 cannot be spread over 7 devices"):
        describe_memory(config, 7)


@pytest.mark.parametrize(
    "key", ["master_params", "all_reduce_dtype", "matmul_precision"]
)
def test_a_choice_that_is_none_is_refused_with_those_that_are(key):
    config = defaults.get_config()
    config[key] = "elsewhere"
    with pytest.raises(InputError, match=f"config.{key} is 'elsewhere': use .* or "):
        check(config)
