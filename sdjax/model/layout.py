"""How arrays lie inside the loops over time: one choice for all that runs the cell.

A CPU multiplies fastest with the features first and the rows of the batch last, `W @ h`
with W [M, K] and h [K, B]: up to 1.4 times as fast as `h @ W`. A GPU is the other way
round: with the rows first nothing has to be transposed, and the products of x can move
out of the loops, which leaves two products in every step instead of three.

Which one is used follows from the platform. The environment variable SDJAX_LAYOUT
forces one for a whole process, and `LanguageModel.layout` for one model.
"""

import os
import re
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from sdjax.errors import InputError

F32 = jnp.float32
VARIABLE = "SDJAX_LAYOUT"
BY_PLATFORM = "platform"  # the name that leaves the choice to the platform
# XLA adds such a bias to the wrong axis on CUDA before this version (issue 46897).
_BIAS_RIGHT_SINCE = (0, 12)


def dot(a, b):
    """Matrix product accumulated in float32."""
    return jnp.dot(a, b, preferred_element_type=F32)


def rounded_dot(a, b, dtype):
    """Matrix product accumulated in float32 that leaves the product in `dtype`.

    On a GPU this writes half as much as a float32 result that is rounded afterwards.
    """
    return jnp.dot(a, b, preferred_element_type=dtype)


@dataclass(frozen=True)
class Layout:
    """What differs between the two ways to lay out a loop over time.

    F stands for any number of features. What a loop carries is [F, B] or [B, F].

    Attributes:
        name: "feature-major" or "batch-major".
        axis: of the features in what a loop carries, 0 or 1.
        inputs_outside: products of x are made for all of a window outside its loops.
        rounds_in_products: where only the rounded value of a product is used, the
            product writes it so; accumulated in float32 all the same.
        keeps_incoming: a step keeps the state that it begins with, not the one that it
            ends in; what is kept of the hidden state begins with the incoming one.
    """

    name: str
    axis: int
    inputs_outside: bool
    rounds_in_products: bool
    keeps_incoming: bool

    def turned(self, x: jax.Array) -> jax.Array:
        """Bring [B, F] into the loop's layout, or back from it."""
        return x if self.axis else x.T

    def sequence(self, x: jax.Array) -> jax.Array:
        """Bring [T, B, F] into the loop's layout."""
        return x if self.axis else x.swapaxes(1, 2)

    def per_row(self, x: jax.Array) -> jax.Array:
        """Bring [B], one value for each row, next to what a loop carries."""
        return x[:, None] if self.axis else x[None]

    def shape(self, features: int, rows: int) -> tuple[int, int]:
        """Return the shape of what a loop carries."""
        return (rows, features) if self.axis else (features, rows)

    def operand_weight(self, w: jax.Array) -> jax.Array:
        """Bring a weight [in, out] into the orientation that `product` reads."""
        return w if self.axis else w.T

    def product(self, w: jax.Array, x: jax.Array) -> jax.Array:
        """Multiply what a loop carries by an `operand_weight`; float32."""
        return dot(x, w) if self.axis else dot(w, x)

    def product_back(self, w: jax.Array, gradient: jax.Array) -> jax.Array:
        """Return the gradient in the operand of a product with w [in, out]; float32."""
        return times_transposed(gradient, w) if self.axis else dot(w, gradient)

    def bias(self, b: jax.Array, rows: int) -> jax.Array:
        """Bring b [F] next to the sums of `rows` rows that it is added to.

        Raises:
            InputError: the compiler in use would add it to the wrong axis.
        """
        if not self.axis and len(b) == rows and _bias_goes_wrong():
            raise InputError(
                f"layout feature-major, {rows // 4} units, {rows} rows on a device: jax"
                f" {jax.__version__} would train a wrong model on CUDA (openxla/xla"
                f" issue 46897); unset {VARIABLE}, use another number of rows, or jax"
                " 0.12"
            )
        return b[None] if self.axis else b[:, None]

    # Operands of the products after the loop, one for each weight's gradient. Feature-
    # major they are [F, T, B], which is the matrix [F, T x B] as it stands.

    def operands(self, features: int, length: int, rows: int, dtype) -> jax.Array:
        """Return a buffer for one value a step; it is not filled."""
        by_step = (length, rows, features) if self.axis else (features, length, rows)
        return lax.empty(by_step, dtype)

    def keep(self, buffer: jax.Array, value: jax.Array, time) -> jax.Array:
        """Write one step's value into a buffer of `operands`."""
        return put(buffer, value, time, 0 if self.axis else 1)

    def weight_gradient(self, operand: jax.Array, gradient: jax.Array) -> jax.Array:
        """Multiply what `operands` holds by d_product [T, B, out]: float32[in, out]."""
        columns = gradient.reshape(-1, gradient.shape[-1])
        if not self.axis:
            return dot(operand.reshape(operand.shape[0], -1), columns)
        rows = operand.reshape(-1, operand.shape[-1])
        contract = (((0,), (0,)), ((), ()))
        return lax.dot_general(rows, columns, contract, preferred_element_type=F32)


FEATURE_MAJOR = Layout(
    "feature-major",
    axis=0,
    inputs_outside=False,
    rounds_in_products=False,
    keeps_incoming=False,
)
BATCH_MAJOR = Layout(
    "batch-major",
    axis=1,
    inputs_outside=True,
    rounds_in_products=True,
    keeps_incoming=True,
)
LAYOUTS = {layout.name: layout for layout in (FEATURE_MAJOR, BATCH_MAJOR)}


def choose(name: str = BY_PLATFORM, platform: str | None = None) -> Layout:
    """Return the layout of a name, or the one that suits the platform.

    Args:
        name: "feature-major", "batch-major", or "platform" for the one that the
            environment variable SDJAX_LAYOUT names, or else the platform wants.
        platform: "cpu", "gpu" and so on; None for that of the default backend.

    Raises:
        InputError: there is no such layout.
    """
    if name == BY_PLATFORM:
        name = os.environ.get(VARIABLE) or BY_PLATFORM
    if name == BY_PLATFORM:
        on_cpu = (platform or jax.default_backend()) == "cpu"
        return FEATURE_MAJOR if on_cpu else BATCH_MAJOR
    if name not in LAYOUTS:
        raise InputError(
            f"layout {name!r} does not exist: use {[BY_PLATFORM, *LAYOUTS]}"
        )
    return LAYOUTS[name]


def put(buffer: jax.Array, value: jax.Array, time, axis: int = 0) -> jax.Array:
    """Write one step's value at `time` along `axis`."""
    value = jnp.expand_dims(value, axis)
    return lax.dynamic_update_slice_in_dim(buffer, value, time, axis)


def at(buffer: jax.Array, time) -> jax.Array:
    """Read what stands at `time` along the first axis."""
    return lax.dynamic_index_in_dim(buffer, time, keepdims=False)


def times_transposed(a: jax.Array, b: jax.Array, dtype=F32) -> jax.Array:
    """Multiply [..., K] by the transpose of [N, K]; accumulated in float32."""
    contract = (((a.ndim - 1,), (1,)), ((), ()))
    return lax.dot_general(a, b, contract, preferred_element_type=dtype)


def _bias_goes_wrong() -> bool:
    version = tuple(int(n) for n in re.findall(r"\d+", jax.__version__)[:2])
    return jax.default_backend() == "gpu" and version < _BIAS_RIGHT_SINCE
