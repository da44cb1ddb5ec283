"""The training step against its baselines, and against the machine's own products."""

import statistics
from collections.abc import Callable
from typing import NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.interleave import interleave, ratio, spread
from sdjax.data.windows import Batch
from sdjax.model import recurrence
from sdjax.model.devices import replicate, zero_carry
from sdjax.model.devices import spread as spread_rows
from sdjax.model.language_model import LanguageModel, init_params
from sdjax.model.layout import BY_PLATFORM, choose, dot
from sdjax.model.precision import loss_scale, policy
from sdjax.training.cost import flops_per_character
from sdjax.training.optimizer import optimizer
from sdjax.training.parallel import parallel_train_step, split_batch
from sdjax.training.step import create_train_state

EMBEDDING, VOCABULARY = 64, 256
SQUARE = 4096  # the product that a machine's rate is measured with


class Shape(NamedTuple):
    """What is measured: units, rows of the batch on one device, bytes of a window."""

    hidden_size: int
    batch_size: int
    window_size: int

    @property
    def characters(self) -> int:
        return self.batch_size * self.window_size


class Step(NamedTuple):
    """A compiled step: call it, and what memory XLA planned for it."""

    call: Callable[[], None]
    memory_bytes: int | None = None


class Row(NamedTuple):
    """One variant at one shape; `ratio` is its time over ours, quartiles beside it."""

    variant: str
    hidden_size: int
    batch_size: int
    window_size: int
    precision: str
    seconds: float
    seconds_quartiles: tuple[float, float]
    chars_per_second: float | None
    memory_bytes: int | None
    flops_per_second: float
    fraction_of_product_rate: float
    ratio: float | None
    ratio_quartiles: tuple[float, float] | None


def measure(
    shapes: list[Shape],
    precision: str,
    rounds: int,
    with_baselines: bool = True,
    with_torch: bool = True,
    layout: str = BY_PLATFORM,
) -> list[Row]:
    """Measure every variant at every shape, interleaved, on one device.

    Args:
        shapes: what to measure.
        precision: "fp32", "bf16" or "fp16".
        rounds: timed steps of each variant.
        with_baselines: False leaves only our step and the square product.
        with_torch: among the baselines those in PyTorch, which must be installed.
        layout: of our step's loops, as `sdjax.model.layout.choose` takes it.
    """
    choose(layout)
    return [
        row
        for shape in shapes
        for row in _at(shape, precision, rounds, with_baselines, with_torch, layout)
    ]


def _at(shape, precision, rounds, with_baselines, with_torch, layout) -> list[Row]:
    square_flops = 2 * SQUARE**3
    of_mlstm, of_lstm = (
        shape.characters
        * flops_per_character(cell, shape.hidden_size, EMBEDDING, VOCABULARY)
        for cell in ("mlstm", "lstm")
    )
    steps = {
        "sdjax": (sdjax_step(shape, precision, layout), of_mlstm),
        f"product {SQUARE}^3": (square_product(precision), square_flops),
    }
    if with_baselines:
        steps["plain scan, autodiff"] = scan_step(shape, precision), of_mlstm
        steps["its products alone"] = products(shape, precision), of_mlstm
    if with_baselines and with_torch:
        from benchmarks import torch_models

        sizes = shape.hidden_size, EMBEDDING, VOCABULARY
        tokens = _batch(shape).tokens
        for name, model, flops in (
            ("PyTorch mLSTM loop", torch_models.MultiplicativeLSTM, of_mlstm),
            ("PyTorch nn.LSTM", torch_models.LSTM, of_lstm),
        ):
            step = torch_models.train_step(model(*sizes), tokens, precision)
            steps[name] = Step(step), flops
    calls = {name: step.call for name, (step, _) in steps.items()}
    seconds = interleave(calls, rounds)
    product_rate = square_flops / statistics.median(seconds[f"product {SQUARE}^3"])
    return [
        _row(name, shape, precision, seconds, step.memory_bytes, flops, product_rate)
        for name, (step, flops) in steps.items()
    ]


def _row(name, shape, precision, seconds, memory, flops, product_rate) -> Row:
    middle, low, high = spread(seconds[name])
    a_product = name.startswith("product")
    times, slower, faster = ratio(seconds[name], seconds["sdjax"])
    compared = not a_product and name != "sdjax"
    return Row(
        variant=name,
        **shape._asdict(),
        precision=precision,
        seconds=middle,
        seconds_quartiles=(low, high),
        chars_per_second=None if a_product else shape.characters / middle,
        memory_bytes=memory,
        flops_per_second=flops / middle,
        fraction_of_product_rate=flops / middle / product_rate,
        ratio=times if compared else None,
        ratio_quartiles=(slower, faster) if compared else None,
    )


def _batch(shape: Shape) -> Batch:
    rng = np.random.default_rng(0)
    size = shape.window_size + 1, shape.batch_size
    return Batch(
        rng.integers(0, VOCABULARY, size, np.uint8),
        np.full(shape.batch_size, shape.window_size, np.int32),
        np.zeros(shape.batch_size, bool),
    )


def untrained(
    hidden_size: int, precision: str = "fp32", layout: str = BY_PLATFORM
) -> tuple[LanguageModel, dict]:
    """Return an mLSTM with random weights; speed does not depend on them."""
    model = LanguageModel(
        "mlstm", hidden_size, EMBEDDING, VOCABULARY, precision=precision, layout=layout
    )
    return model, init_params(model, jax.random.key(0))


def sdjax_step(shape: Shape, precision: str, layout: str = BY_PLATFORM) -> Step:
    """Return the step of train.py on one device, its state donated and kept."""
    model, params = untrained(shape.hidden_size, precision, layout)
    tx = optimizer(lambda count: 5e-4, clip_norm=1.0, b1=0.9, b2=0.999, eps=1e-8)
    scale = loss_scale(precision)
    devices = jax.local_devices()[:1]
    state = replicate(create_train_state(model, tx, scale, params), devices)
    carry = spread_rows(zero_carry(model, shape.batch_size, 1), devices)
    batch = split_batch(_batch(shape), 1)
    compiled = parallel_train_step(devices).lower(state, carry, batch).compile()
    planned = compiled.memory_analysis()
    kept = [state, carry]

    def step():
        *kept[:], metrics = compiled(*kept, batch)
        jax.block_until_ready((kept, metrics))

    memory = planned.argument_size_in_bytes + planned.temp_size_in_bytes
    return Step(step, memory)


def scan_step(shape: Shape, precision: str) -> Step:
    """Return the same step around `recurrence.scan_reference` and autodiff."""
    with mock.patch.object(recurrence, "unroll", recurrence.scan_reference):
        return sdjax_step(shape, precision)


def square_product(precision: str) -> Step:
    """Return a product of two square matrices in the compute dtype."""
    a = jnp.full((SQUARE, SQUARE), 0.5, policy(precision).compute_dtype)
    product = jax.jit(dot)
    return Step(lambda: product(a, a).block_until_ready())


def products(shape: Shape, precision: str) -> Step:
    """Return the matrix products of one step in their orientation, and nothing else."""
    width, rows, length = shape
    dtype = policy(precision).compute_dtype
    inner = width + EMBEDDING
    keys = iter(jax.random.split(jax.random.key(0), 16))

    def normal(out, into):  # products keep the size of what they read
        return (jax.random.normal(next(keys), (out, into)) * into**-0.5).astype(dtype)

    gates, gates_back = normal(4 * width, inner), normal(inner, 4 * width)
    recur, recur_back = normal(width, width), normal(width, width)
    operand, gradient = (
        normal(inner, shape.characters),
        normal(shape.characters, 4 * width),
    )
    output = normal(VOCABULARY, width)
    x = normal(EMBEDDING, rows)

    @jax.jit
    def run(hidden, operand, gradient):
        def body(_, hidden):
            m = dot(recur, hidden).astype(dtype)
            z = dot(gates, jnp.concatenate([m, x])).astype(dtype)
            m = dot(gates_back, z)[:width].astype(dtype)
            return dot(recur_back, m).astype(dtype)

        columns = operand[:width]
        logits = dot(output, columns).astype(dtype)
        return (
            jax.lax.fori_loop(0, length, body, hidden),
            dot(operand, gradient),
            dot(columns, gradient[:, :width]),
            *(dot(output.T, logits), dot(logits, columns.T)),
        )

    hidden = normal(width, rows)
    return Step(lambda: jax.block_until_ready(run(hidden, operand, gradient)))


def memory_bandwidth(megabytes: int = 512) -> float:
    """Return bytes per second read and written by a copy that fits in no cache."""
    x = jnp.zeros(megabytes * 2**20 // 4)
    add = jax.jit(lambda x: x + 1)
    seconds = interleave({"copy": lambda: add(x).block_until_ready()}, rounds=5)
    return 2 * x.nbytes / statistics.median(seconds["copy"])
