"""The training step compiled for GPUs that are not here: `make test-gpu-program`."""

import jax
import pytest

from benchmarks import gpu_program
from benchmarks.gpu_chips import CHIPS
from benchmarks.gpu_program import Request, examine
from sdjax.errors import InputError
from sdjax.model.precision import POLICIES

# Large enough that what is as large as a weight is one, small enough to compile soon.
SMALL = {"hidden_size": 1024, "batch_size": 64, "window_size": 128}
# Kernels and products of a run of each loop's body; more of them is a step back.
IN_LOOPS = {"mlstm": ((10, 2), (9, 2)), "lstm": ((8, 1), (5, 1))}

# How the programs of jax 0.10 and of jax 0.12 say it.
ALL_EIGHT = ("{{0,1,2,3,4,5,6,7}}", "mesh['batch'=8] {'batch'}")


def test_without_the_compiler_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setattr(gpu_program, "_is_there", lambda module: False)
    with pytest.raises(InputError, match=r"pip install .* '\.\[gpu-program\]'"):
        gpu_program.check_installed()


def test_a_chip_that_is_not_known_is_refused():
    with pytest.raises(InputError, match="chip 'tpu' is not known: use"):
        examine(Request(chip="tpu"))


@pytest.mark.gpu_program
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("cell", ["mlstm", "lstm"])
@pytest.mark.parametrize("precision", POLICIES)
def test_the_step_is_as_lean_as_it_was_made(chip, cell, precision):
    rows, plan = examine(Request(chip, precision, **SMALL, cell=cell))
    for row, (kernels, products) in zip(rows, IN_LOOPS[cell], strict=False):
        assert row.times == SMALL["window_size"]
        assert row.products == products
        assert row.kernels <= kernels
    assert plan.weight_work_in_loops == ()
    assert plan.donated
    assert plan.formula_bytes == pytest.approx(plan.planned_bytes, rel=0.05)


@pytest.mark.gpu_program
@pytest.mark.parametrize("precision", POLICIES)
def test_at_full_size_memory_is_the_formula_s_and_nothing_large_is_copied(precision):
    _, plan = examine(Request("h200", precision, 4096, 256, 256))
    assert plan.formula_bytes == pytest.approx(plan.planned_bytes, rel=0.05)
    assert plan.large_copies == ()
    assert plan.donated


@pytest.mark.gpu_program
@pytest.mark.parametrize("layers", [2, 3])
def test_a_stack_is_planned_as_predicted(layers):
    request = Request("h100", "bf16", **SMALL, num_layers=layers)
    _, plan = examine(request)
    assert plan.weight_work_in_loops == ()
    assert plan.formula_bytes == pytest.approx(plan.planned_bytes, rel=0.05)


@pytest.mark.gpu_program
@pytest.mark.parametrize(
    "average, dtype", [("fp32", "f32"), ("compute", "bf16")], ids=str
)
def test_gradients_of_eight_gpus_are_exchanged_once_in_the_dtype_asked_for(
    average, dtype
):
    request = Request("h100", "bf16", **SMALL, devices=8, average=average)
    compiled, state, carry = gpu_program.compile_step(request)
    program = gpu_program.Program(compiled.as_text())
    groups = [c.attributes.split("replica_groups=")[1] for c in _arrays(program)]
    assert groups and all(group.startswith(ALL_EIGHT) for group in groups)
    _, plan = gpu_program.read(request, compiled, state, carry)
    gradients = sum(x.size for x in jax.tree.leaves(state.params))
    item = 4 if dtype == "f32" else 2
    # Gradients in effective weights: a little fewer than parameters with weight norm.
    exchanged = {n: mb for n, mb in plan.collectives.items() if "s32" not in n}
    assert list(exchanged) == [f"all-reduce {dtype}"]
    assert sum(exchanged.values()) == pytest.approx(gradients * item / 1e6, rel=0.01)
    assert plan.donated


def _arrays(program):
    """What exchanges more than a few numbers."""
    return [c for c in program.collectives() if gpu_program.size(c.shape) > 1024]


@pytest.mark.gpu_program
def test_the_check_for_casts_sees_the_one_that_was_there(monkeypatch):
    """The step with its products of a float32 weight cast where it is used."""
    from sdjax.model import recurrence

    source_cast = recurrence.Layout.product_back

    def casting(self, w, gradient):
        wide = w.astype("float32") * 1.0000001  # a weight that is float32 until here
        return source_cast(self, wide.astype(gradient.dtype), gradient)

    monkeypatch.setattr(recurrence.Layout, "product_back", casting)
    _, plan = examine(Request("h100", "bf16", **SMALL))
    assert plan.weight_work_in_loops
