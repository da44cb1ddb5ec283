"""The training step as a GPU would run it, compiled and read without a GPU.

XLA needs only a description of the chip to compile for it. Nothing runs, and nothing is
tuned to the card: the program says what is computed, how often, and how many bytes
move, not how fast the card does it. What is predicted of that is called a prediction.
"""

import importlib.util
import math
import re
from collections import Counter
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from benchmarks.gpu_chips import CHIPS, Chip
from benchmarks.hlo import Part, Program, arrays, size
from sdjax.data.windows import Batch
from sdjax.errors import InputError
from sdjax.model.language_model import LanguageModel, init_params
from sdjax.model.layout import choose
from sdjax.model.precision import loss_scale
from sdjax.training.cost import step_memory
from sdjax.training.optimizer import optimizer
from sdjax.training.parallel import parallel_train_step
from sdjax.training.step import create_train_state

EMBEDDING, VOCABULARY = 64, 256
NEEDED = {  # module -> what is installed for it
    "jax_plugins.xla_cuda13": "jax-cuda13-plugin",
    "nvidia.cu13": "nvidia-cuda-nvcc nvidia-nvvm",
}
# Assumed: one node of a CUDA graph, and one launch of a graph, per run of a loop body.
KERNEL_SECONDS, GRAPH_SECONDS = 1.5e-6, 4e-6
# Without a card nothing can be tuned; products by NVIDIA's library are what tuning
# mostly ends at for these sizes, and what XLA's own generator does is not known.
OPTIONS = {"xla_gpu_enable_triton_gemm": False}


class Request(NamedTuple):
    """What is compiled."""

    chip: str = "h100"
    precision: str = "bf16"
    hidden_size: int = 4096
    batch_size: int = 256  # rows on a device
    window_size: int = 256
    cell: str = "mlstm"
    num_layers: int = 1
    devices: int = 1
    layout: str = "platform"
    average: str = "fp32"  # in which gradients are averaged, or "compute"

    @property
    def model(self) -> LanguageModel:
        return LanguageModel(
            self.cell,
            self.hidden_size,
            EMBEDDING,
            VOCABULARY,
            precision=self.precision,
            num_layers=self.num_layers,
            layout=choose(self.layout, platform="gpu").name,
        )

    @property
    def characters(self) -> int:
        return self.batch_size * self.window_size


class Row(NamedTuple):
    """A loop's body, what stands outside of loops, or the whole step."""

    part: str
    times: int
    kernels: int
    products: int
    megabytes: float
    gigaflops: float
    predicted_microseconds: float  # of one run


class Plan(NamedTuple):
    """What the compiler plans for one device, and what devices exchange."""

    planned_bytes: int
    formula_bytes: int
    donated: bool  # whether state and carry lie where they lay
    collectives: dict[str, float]  # kind and dtype -> megabytes
    collectives_seconds: float  # predicted, none of it hidden
    weight_work_in_loops: tuple[str, ...]
    large_copies: tuple[str, ...]  # above 1% of the step's bytes
    predicted_chars_per_second: float


def check_installed() -> None:
    """Refuse to go on without the compiler for CUDA.

    Raises:
        InputError: names what is not installed.
    """
    missing = [p for m, p in NEEDED.items() if not _is_there(m)]
    if missing:
        raise InputError(
            f"the compiler for CUDA is not installed ({', '.join(missing)}): pip"
            " install -c constraints.txt -e '.[gpu-program]' (0.7 GB, Linux)"
        )


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def compile_step(request: Request):
    """Compile the training step for a chip, from shapes alone.

    Returns:
        jax's compiled executable, and the shapes of its state and carry.
    """
    topology = topologies.get_topology_desc(
        platform="cuda",
        target_config=CHIPS[request.chip].target_config(),
        topology=f"1x1x{request.devices}",
    )
    model, count = request.model, request.devices
    tx = optimizer(lambda _: 5e-4, clip_norm=1.0, b1=0.9, b2=0.999, eps=1e-8)
    scale = loss_scale(request.precision)

    def start():
        params = init_params(model, jax.random.key(0))
        return create_train_state(model, tx, scale, params)

    def array(*shape, dtype):
        return jax.ShapeDtypeStruct((count, *shape), dtype)

    rows, length = request.batch_size, request.window_size
    state = jax.eval_shape(start)
    carry = jax.eval_shape(lambda: model.zero_state(rows))
    carry = jax.tree.map(lambda x: array(*x.shape, dtype=x.dtype), carry)
    batch = Batch(
        array(length + 1, rows, dtype=jnp.uint8),
        array(rows, dtype=jnp.int32),
        array(rows, dtype=jnp.bool_),
    )
    average = jnp.float32 if request.average == "fp32" else model.compute_dtype
    step = parallel_train_step(list(topology.devices), average)
    lowered = step.lower(state, carry, batch)
    return lowered.compile(compiler_options=OPTIONS), state, carry


def examine(request: Request) -> tuple[list[Row], Plan]:
    """Compile and read a step.

    Raises:
        InputError: there is no such chip, precision, cell or layout.
    """
    if request.chip not in CHIPS:
        raise InputError(f"chip {request.chip!r} is not known: use {list(CHIPS)}")
    return read(request, *compile_step(request))


def read(request: Request, compiled, state, carry) -> tuple[list[Row], Plan]:
    """Read what `compile_step` compiled."""
    chip, program = CHIPS[request.chip], Program(compiled.as_text())
    parts = program.parts()
    rows = [_row(part, chip, request.precision) for part in parts]
    total = sum(row.times * row.predicted_microseconds for row in rows)
    rows.append(
        Row(
            "whole step",
            1,
            *(sum(r.times * r[n] for r in rows) for n in range(2, 6)),
            predicted_microseconds=total,
        )
    )
    collectives = _collectives(program)
    planned = compiled.memory_analysis()
    parameters = sum(math.prod(x.shape) for x in jax.tree.leaves(state.params))
    given = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    given += sum(
        x.size * x.dtype.itemsize // request.devices for x in jax.tree.leaves(carry)
    )
    exchanged = sum(collectives.values()) * 1e6
    # A ring sends almost every byte twice, each way at once.
    ring = 2 * (request.devices - 1) / request.devices
    memory = step_memory(
        cell=request.cell,
        hidden_size=request.hidden_size,
        embedding_size=EMBEDDING,
        vocabulary_size=VOCABULARY,
        parameters=parameters,
        precision=request.precision,
        batch_size=request.batch_size,
        window_size=request.window_size,
        num_layers=request.num_layers,
        platform="gpu",
    )
    plan = Plan(
        planned_bytes=planned.argument_size_in_bytes + planned.temp_size_in_bytes,
        formula_bytes=memory.total,
        donated=planned.alias_size_in_bytes >= given,
        collectives=collectives,
        collectives_seconds=ring * exchanged / chip.link_bytes_per_second,
        weight_work_in_loops=tuple(weight_work_in_loops(program, request.hidden_size)),
        large_copies=tuple(large_copies(parts)),
        predicted_chars_per_second=request.characters / (total / 1e6),
    )
    return rows, plan


def _row(part: Part, chip: Chip, precision: str) -> Row:
    return Row(
        part.name,
        part.times,
        len(part.kernels),
        part.products,
        part.bytes / 1e6,
        part.flops / 1e9,
        1e6 * predicted_seconds(part, chip, precision),
    )


def predicted_seconds(part: Part, chip: Chip, precision: str) -> float:
    """Predict one run of a part: a roofline for each kernel, and its launch."""
    rate = chip.product_flops(precision)
    roof = sum(
        max(k.bytes / chip.bytes_per_second, k.flops / rate) for k in part.kernels
    )
    graph = GRAPH_SECONDS if part.times > 1 else 0
    return roof + KERNEL_SECONDS * len(part.kernels) + graph


def weight_work_in_loops(program: Program, hidden_size: int) -> list[str]:
    """Name what a loop makes anew that is as large as a recurrent weight.

    Products write rows, buffers are written in place; any other array with a weight's
    two sides is a cast, copy or transposition of a weight, the same in every step.
    """
    found = []
    for body, _ in program.loops():
        for instruction in program.inside(body):
            if instruction.op in ("parameter", "get-tuple-element", "bitcast", "tuple"):
                continue
            for _, sides in arrays(instruction.shape):
                if len(sides) == 2 and min(sides) >= hidden_size:
                    found.append(f"{instruction.op} {instruction.shape}")
    return found


def large_copies(parts: list[Part], share: float = 0.01) -> list[str]:
    """Name the copies that are more than a share of all bytes that a step moves."""
    whole = sum(part.times * part.bytes for part in parts)
    return [
        f"{kernel.name} {kernel.shape} {part.times * kernel.bytes / whole:.1%}"
        for part in parts
        for kernel in part.kernels
        if kernel.kind == "copy" and part.times * kernel.bytes > share * whole
    ]


def _collectives(program: Program) -> dict[str, float]:
    """Return what devices exchange, megabytes by kind and dtype, numbers left out."""
    found: Counter = Counter()
    for instruction in program.collectives():
        # What starts an exchange names its operands and results alike.
        text = instruction.shape
        if instruction.op.endswith("-start") and text.startswith("(("):
            text = re.match(r"\((\(.*?\))", text)[1]
        for dtype, sides in arrays(text):
            if math.prod(sides) > 1:
                each = math.prod(sides) * size(f"{dtype}[]")
                found[f"{instruction.op.removesuffix('-start')} {dtype}"] += each
    return {name: total / 1e6 for name, total in found.items()}


def where(request: Request) -> str:
    """Say what the figures are of."""
    return (
        f"no machine: compiled for {request.devices} x {CHIPS[request.chip].name} by"
        f" jax {jax.__version__}, {request.model.layout}, options {OPTIONS}"
    )


def in_words(request: Request, plan: Plan) -> str:
    """Say what the program is like, one line a finding."""
    chip = CHIPS[request.chip]
    off = plan.formula_bytes / plan.planned_bytes - 1
    lines = [
        f"predicted   {plan.predicted_chars_per_second / 1e6:.2f} M characters a second"
        " a GPU, nothing was measured",
        f"memory      {plan.planned_bytes / 1e9:.2f} GB planned of"
        f" {chip.memory_bytes / 1e9:.0f}, {plan.formula_bytes / 1e9:.2f} by the formula"
        f" ({off:+.1%})",
        f"donated     {'state and carry' if plan.donated else 'not all of the state'}",
        f"in loops    {', '.join(plan.weight_work_in_loops) or 'no weight is remade'}",
        f"copies      {', '.join(plan.large_copies) or 'none above 1% of the bytes'}",
    ]
    if request.devices > 1:
        each = ", ".join(f"{n} {mb:,.1f} MB" for n, mb in plan.collectives.items())
        lines.append(
            f"exchanged   {each}: {1e3 * plan.collectives_seconds:.2f} ms predicted at"
            f" {chip.link_bytes_per_second / 1e9:.0f} GB/s, if none of it is hidden"
        )
    return "\n".join(lines) + "\n"
