"""Eight host devices, strict promotion, what is compiled shared, tolerances."""

import os
import tempfile
from importlib.metadata import version

# Before jax is imported: XLA reads its flags once.
XLA_FLAGS = [
    "--xla_force_host_platform_device_count=8",
    # Eight devices share a few cores: one may wait long for another on a busy machine,
    # and XLA ends the process after 40 seconds of that.
    "--xla_cpu_collective_call_terminate_timeout_seconds=600",
]
# Most of the time of the suite is spent compiling. Without optimisation and, where XLA
# still has the older way, without the fusion emitters a train step compiles ten times
# faster. `make check` runs the numerics a second time, compiled as in training.
if not os.environ.get("SDJAX_TEST_OPTIMISED"):
    XLA_FLAGS += [
        "--xla_backend_optimization_level=0",
        "--xla_cpu_parallel_codegen_split_count=1",
    ]
    if version("jaxlib").startswith("0.10."):
        XLA_FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *XLA_FLAGS])

# What one test compiles the next one reads, be it in another process.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    COMPILED = tempfile.TemporaryDirectory(prefix="sdjax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")

TOLERANCES = {
    "float32": {"rtol": 1e-5, "atol": 1e-6},  # the same mathematics, another order
    "oracle": {"rtol": 1e-5, "atol": 1e-5},  # float32 against NumPy float64
    "numerical": {"rtol": 5e-3, "atol": 1e-5},  # central differences
    "bfloat16": {"rtol": 2e-2, "atol": 2e-2},  # against float32
    "float16": {"rtol": 5e-3, "atol": 5e-3},  # against float32
}


@pytest.fixture
def tolerances():
    """rtol and atol by kind of comparison, for np.testing.assert_allclose."""
    return TOLERANCES


@pytest.fixture(scope="module")
def model():
    """The tiny model, for tests that ask nothing special of it."""
    import tiny

    return tiny.model()


@pytest.fixture(scope="module")
def params(model):
    """Its parameters at the start of training."""
    from sdjax.model.language_model import init_params

    return init_params(model, jax.random.key(0))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A corpus, a model trained on it and labelled texts; to read, not to change."""
    from fixtures_run import make_run

    return make_run(tmp_path_factory.mktemp("tiny_run"))


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command in this process, such as `command.sdjax("prepare", ...)`."""
    from fixtures_run import Command

    return Command(monkeypatch, capsys)
