"""How much memory a training step needs, on a device and on the host, by a formula."""

from typing import NamedTuple

import jax

from sdjax.model.precision import policy


class StepMemory(NamedTuple):
    """Bytes that a training step needs, on one device and on the host.

    Args:
        state: kept between steps: parameters and Adam's two moments, or only the copy
            of the weights when the parameters are on the host.
        parameter_work: gradients, and weights after weight norm in both orientations.
        window: residuals of the forward pass and gradients of the backward pass.
        host: in the memory of this process; 0 when the parameters are on the devices.
        copied: per step between host and a device: weights there, the gradient back.
    """

    state: int
    parameter_work: int
    window: int
    host: int
    copied: int

    @property
    def total(self) -> int:
        """Bytes on one device."""
        return self.state + self.parameter_work + self.window


def step_memory(
    *,
    cell: str,
    hidden_size: int,
    embedding_size: int,
    vocabulary_size: int,
    parameters: int,
    precision: str,
    batch_size: int,
    window_size: int,
    num_layers: int = 1,
    master_params: str = "device",
    all_reduce_dtype: str = "fp32",
    platform: str = "cpu",
) -> StepMemory:
    """Predict the memory of a training step.

    Per byte of the window, in arrays of H: activated gates (4), the cell (1, float32),
    the product's operand and the hidden state (1 + 1), the factors of m (2, mLSTM
    only), all for every layer, and the gradients of gates (4) and factors (2). On a CPU
    those are there for every layer at once, and twice the hidden state and its gradient
    at the output; on a GPU they are those of one layer, and before jax 0.12 an LSTM's
    hidden state is only needed until the output layer is done. From jax 0.12 on, a GPU
    also keeps the gradients of the other layers' gates (4) and of one factor of m.
    Besides, each layer's inputs, and on a CPU logits and their gradient in float32.
    Checked against what XLA plans in tests/training/test_cost.py and
    tests/benchmarks/test_gpu_program.py; in half precision on a CPU XLA needs up to
    half as much again, because it widens the operands of products.

    With the parameters on the host a device holds a copy in the compute dtype. The
    gradient reuses the copy's memory if it leaves in the same dtype. The host holds the
    state, the gradient, and four more arrays of each parameter during the update.

    Args:
        parameters: number of them.
        batch_size: rows on the device.
        window_size: bytes per row.
        master_params: "device" or "host".
        all_reduce_dtype: of the gradient that goes to the host, "fp32" or "compute".
        platform: "cpu", or any other for an accelerator.
    """
    item = policy(precision).compute_dtype.itemsize
    factors = 2 if cell == "mlstm" else 0
    inputs = [embedding_size] + [hidden_size] * (num_layers - 1)  # of each layer
    characters = batch_size * window_size
    on_host = master_params == "host"
    gradient = item if all_reduce_dtype == "compute" else 4
    taken_over = item if on_host and gradient == item else 0
    if platform == "cpu":
        per_layer = item * (4 + factors + 2 + 4 + factors) * hidden_size
        per_layer += 4 * hidden_size
        window = characters * (
            num_layers * per_layer
            + (item + 4) * sum(inputs)
            + item * 2 * hidden_size
            + 2 * 4 * vocabulary_size
        )
        work = (4 + 2 * item - taken_over) * parameters
    else:
        kept = (4 + factors + (2 if factors else 1)) * item + 4  # by every layer
        read_again = hidden_size * (num_layers - 1) if factors else 0
        going_back = item * (4 + factors + 1)
        late = 0
        if _minor_version() >= (0, 12):  # products of weights' gradients are made last
            going_back += 0 if factors else item
            going_back += item * (4 + factors // 2) * (num_layers - 1)
            late = item * vocabulary_size
        window = characters * (
            (num_layers * kept + going_back) * hidden_size
            + item * (sum(inputs) + read_again)
            + late
        )
        window += _CARRIED * hidden_size * batch_size
        # The gradients of the weights find room where the window's arrays lay. They are
        # there besides if they leave the device, or if the window is too small.
        beside = 4 * parameters + 4 * window // 5 - window
        work = item * parameters + (
            (gradient - taken_over) * parameters if on_host else max(0, beside)
        )
    return StepMemory(
        state=(item if on_host else 12) * parameters,
        parameter_work=work,
        window=window,
        host=(12 + gradient + 16) * parameters if on_host else 0,
        copied=(item + gradient) * parameters if on_host else 0,
    )


def _minor_version() -> tuple[int, int]:
    """Return the first two numbers of jax's version."""
    major, minor, *_ = jax.__version__.split(".")
    return int(major), int(minor)


# Bytes for each unit of each row that a loop on a GPU carries or makes in a step.
_CARRIED = 72


def flops_per_character(
    cell: str,
    hidden_size: int,
    embedding_size: int,
    vocabulary_size: int,
    num_layers: int = 1,
) -> int:
    """Count the floating-point operations of training on one character.

    Matrix products of the recurrence, the input side and the output layer: forward once
    and backward twice.

    Args:
        cell: "mlstm" or "lstm".
    """
    columns = {"lstm": 4 * hidden_size, "mlstm": 5 * hidden_size}[cell]
    first, above = hidden_size + embedding_size, 2 * hidden_size
    rows = first + (num_layers - 1) * above
    return 3 * 2 * (rows * columns + hidden_size * vocabulary_size)
