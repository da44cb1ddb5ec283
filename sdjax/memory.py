"""How much memory of a device a training step needs, by a formula."""

from typing import NamedTuple

from sdjax.precision import policy


class StepMemory(NamedTuple):
    """Bytes on one device: what stays between steps and what a step needs besides."""

    state: int  # parameters and Adam's two moments
    parameter_work: int  # gradients, weights after weight norm and in both orientations
    window: int  # what the forward pass keeps, what the backward pass makes of it

    @property
    def total(self) -> int:
        return sum(self)


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
) -> StepMemory:
    """Predict the memory of a training step.

    Per byte of the window, in arrays of H: activated gates (4), the cell (1, float32),
    the product's operand and the hidden state (1 + 1), the factors of m (2, mLSTM
    only), the gradients of gates (4) and factors (2), all for every layer; the hidden
    state and its gradient at the output (2). Besides, each layer's inputs and their
    gradient (float32), and logits and their gradient in float32. Checked against
    what XLA plans in tests/test_memory.py; in half precision on a CPU XLA needs up to
    half as much again, because it widens the operands of products.

    Args:
        parameters: number of them.
        batch_size: rows on the device.
        window_size: bytes per row.
    """
    item = policy(precision).compute_dtype.itemsize
    factors = 2 if cell == "mlstm" else 0
    inputs = [embedding_size] + [hidden_size] * (num_layers - 1)  # of each layer
    per_layer = item * (4 + factors + 2 + 4 + factors) * hidden_size + 4 * hidden_size
    per_byte = (
        num_layers * per_layer
        + (item + 4) * sum(inputs)
        + item * 2 * hidden_size
        + 2 * 4 * vocabulary_size
    )
    return StepMemory(
        state=3 * 4 * parameters,
        parameter_work=(4 + 2 * item) * parameters,
        window=per_byte * batch_size * window_size,
    )
