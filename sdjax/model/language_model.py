"""The language model as a Flax module, and its weight normalisation."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from sdjax.errors import InputError
from sdjax.model import pooling, recurrence
from sdjax.model.cell import (
    LSTMWeights,
    MLSTMWeights,
    RecurrentState,
    Weights,
    zero_state,
)
from sdjax.model.layout import BY_PLATFORM, Layout, choose
from sdjax.model.pooling import Pools
from sdjax.model.precision import matmul, policy

CELLS = {"mlstm": MLSTMWeights, "lstm": LSTMWeights}


def weight_norm(v: jax.Array, g: jax.Array) -> jax.Array:
    """Return w = g v / ||v||, the norm taken over the input axis (axis 0).

    Args:
        v: float32[in, out], direction.
        g: float32[out], length of each output's weight vector.

    Reference: Salimans & Kingma 2016, eq. 2.
    """
    return v * (g / jnp.linalg.norm(v, axis=0))[None]


def fold_weight_norm(params: dict) -> dict:
    """Return the parameters of the same model without weight norm.

    Each matrix of the recurrent layers that has a length becomes the effective one;
    parameters of a model without weight norm stay as they are.

    Args:
        params: nested, as `init_params` gives them.
    """

    def fold(layer: dict) -> dict:
        lengths = {"w" + name[1:]: g for name, g in layer.items() if name[0] == "g"}
        return {
            name: weight_norm(v, lengths[name]) if name in lengths else v
            for name, v in layer.items()
            if name[0] != "g"
        }

    return {
        name: fold(entry) if name.startswith("recurrent") else entry
        for name, entry in params.items()
    }


def working_copy(params: dict, compute_dtype: jnp.dtype) -> dict:
    """Return what a step reads: effective weights, matrices in the compute dtype.

    Biases are used in float32 and stay so. Every matrix is cast to the compute dtype
    before its first product anyway, so nothing is lost by casting it here. All of it is
    new, never `params` themselves, so it can be donated.

    Args:
        params: float32, with or without weight norm.
    """

    def copy(w: jax.Array) -> jax.Array:
        return jnp.array(w, compute_dtype if w.ndim > 1 else w.dtype, copy=True)

    return jax.tree.map(copy, fold_weight_norm(params))


def _orthogonal_blocks(key, shape, dtype=jnp.float32):
    """Orthogonal [H, H] blocks side by side, one per gate (Saxe et al. 2014)."""
    rows, columns = shape
    keys = jax.random.split(key, columns // rows)
    init = nn.initializers.orthogonal()
    return jnp.concatenate([init(k, (rows, rows), dtype) for k in keys], axis=1)


def _gate_bias(memory_span: float):
    """Initialise the gates' bias, [4H] in the order i, f, o, u.

    A span of 0 gives 1 at the forget gate and 0 elsewhere (Jozefowicz et al. 2015).
    Otherwise units start out remembering for 1 to `memory_span` bytes, spread evenly:
    f = log(uniform), i = -f (Tallec & Ollivier 2018, eq. 16).
    """

    def init(key, shape, dtype=jnp.float32):
        hidden_size = shape[0] // 4
        if memory_span == 0:
            forget, write = jnp.ones(hidden_size, dtype), jnp.zeros(hidden_size, dtype)
        else:
            spans = jax.random.uniform(key, (hidden_size,), dtype, 1, memory_span)
            forget, write = jnp.log(spans), -jnp.log(spans)
        rest = jnp.zeros(2 * hidden_size, dtype)
        return jnp.concatenate([write, forget, rest])

    return init


def layer_name(layer: int) -> str:
    """Return what a recurrent layer is called among the parameters, from 0."""
    return f"recurrent_{layer}" if layer else "recurrent"


class RecurrentWeights(nn.Module):
    """The parameters of one recurrent layer; calling it gives the effective weights.

    Matrices are [in, out] with gate order i, f, o, u, so that `wh` is `[H, 4H]`. With
    weight norm each matrix `wx` has a length `gx` per output, which starts at the norm
    of that column: at initialisation the layer equals the plain one.
    """

    cell: str
    hidden_size: int
    embedding_size: int
    use_weight_norm: bool
    memory_span: float

    @nn.compact
    def __call__(self) -> Weights:
        width, inner = self.hidden_size, self.embedding_size
        lecun = nn.initializers.lecun_normal()
        matrices = {
            "wx": ((inner, 4 * width), lecun),
            "wh": ((width, 4 * width), _orthogonal_blocks),
        }
        if self.cell == "mlstm":
            matrices["wmx"] = ((inner, width), lecun)
            matrices["wmh"] = ((width, width), _orthogonal_blocks)
        weights = {"b": self.param("b", _gate_bias(self.memory_span), (4 * width,))}
        for name, (shape, init) in matrices.items():
            v = self.param(name, init, shape)
            if self.use_weight_norm:
                # The initial length needs v's value only when it is first made.
                g = self.param(
                    name.replace("w", "g"), lambda _, v: jnp.linalg.norm(v, axis=0), v
                )
                v = weight_norm(v, g)
            weights[name] = v
        return CELLS[self.cell](**weights)


class Output(nn.Module):
    """Logits in float32: product in the compute dtype, then the bias."""

    vocabulary_size: int
    compute_dtype: jnp.dtype
    layout: Layout

    @nn.compact
    def __call__(self, hidden: jax.Array) -> jax.Array:
        shape = hidden.shape[-1], self.vocabulary_size
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), shape[1:])
        logits = matmul(hidden, kernel, self.compute_dtype, self.layout)
        return logits + jnp.expand_dims(bias, tuple(range(hidden.ndim - 1)))


class LanguageModel(nn.Module):
    """Predict each next byte from all bytes before it.

    Parameters are float32; `precision` names the dtype of the matrix products. Layers
    are stacked without residual connections; the output reads the last one. Layer 0 is
    named "recurrent" among the parameters, layer n "recurrent_n".

    Attributes:
        cell: "mlstm" or "lstm".
        hidden_size: H, units of a layer.
        embedding_size: E.
        vocabulary_size: V, symbols; 256 for bytes.
        use_weight_norm: on the recurrent layer's matrices only.
        precision: "fp32", "bf16" or "fp16".
        memory_span: bytes that units remember over at initialisation; 0: forget bias 1.
        num_layers: L, recurrent layers, each on top of the one before.
        layout: of the loops over time, as `layout.choose` takes it.

    Reference: Radford et al. 2017, section 3; Krause et al. 2016.
    """

    cell: str
    hidden_size: int
    embedding_size: int
    vocabulary_size: int = 256
    use_weight_norm: bool = True
    precision: str = "fp32"
    memory_span: float = 0.0
    num_layers: int = 1
    layout: str = BY_PLATFORM

    def setup(self):
        if self.cell not in CELLS:
            raise InputError(f"cell {self.cell!r} does not exist: use {list(CELLS)}")
        if self.num_layers < 1:
            raise InputError(f"num_layers is {self.num_layers}: it must be 1 or above")
        # Unit variance, so that the product (x Wmx) * (h Wmh) keeps the size of h.
        self.embedding = nn.Embed(
            self.vocabulary_size,
            self.embedding_size,
            embedding_init=nn.initializers.normal(1.0),
        )
        for layer in range(self.num_layers):
            weights = RecurrentWeights(
                self.cell,
                self.hidden_size,
                self.hidden_size if layer else self.embedding_size,
                self.use_weight_norm,
                self.memory_span,
            )
            setattr(self, layer_name(layer), weights)
        self.output = Output(self.vocabulary_size, self.compute_dtype, self.loop_layout)

    def __call__(
        self, tokens: jax.Array, state: RecurrentState, reset: jax.Array
    ) -> dict[str, jax.Array | RecurrentState]:
        """Read one window.

        Args:
            tokens: uint8[T, B], the symbols read.
            state: the state that the window before ended in, [B, L*H].
            reset: bool[B], rows that start from a zero state instead.

        Returns:
            "logits" float32[T, B, V] over the byte that follows each byte read, and
            "state", the `RecurrentState` after the last one.
        """
        logits, state = recurrence.unroll(
            self.weights(),
            self.embed(tokens),
            state,
            reset,
            self.compute_dtype,
            layout=self.loop_layout,
            read=self.logits,
        )
        return {"logits": logits, "state": state}

    def encode(
        self, tokens: jax.Array, state: RecurrentState, lengths: jax.Array
    ) -> RecurrentState:
        """Return the state after the first `lengths[r]` bytes of each row r.

        Args as for `__call__`; lengths: int32[B], 0 to T.
        """
        return recurrence.final_state(
            self.weights(),
            self.embed(tokens),
            state,
            lengths,
            self.compute_dtype,
            layout=self.loop_layout,
        )

    def pool(
        self,
        tokens: jax.Array,
        state: RecurrentState,
        pools: Pools,
        lengths: jax.Array,
        of: str,
        layers: str = "last",
    ) -> tuple[RecurrentState, Pools]:
        """Return what `encode` does, and statistics over the bytes on the way there.

        Args as for `encode` and `pooling.pooled_states`.
        """
        return pooling.pooled_states(
            self.weights(),
            self.embed(tokens),
            state,
            pools,
            lengths,
            of,
            self.compute_dtype,
            layers,
            layout=self.loop_layout,
        )

    def trace(
        self,
        tokens: jax.Array,
        state: RecurrentState,
        of: str = "cell",
        layers: str = "last",
    ) -> tuple[jax.Array, RecurrentState]:
        """Return the cell after every byte, float32[T, B, H], and the last state.

        Args as for `__call__`; of: "cell", or "hidden" for the hidden state instead;
        layers: "last", or "all" for [T, B, L*H].
        """
        return recurrence.all_states(
            self.weights(),
            self.embed(tokens),
            state,
            self.compute_dtype,
            of,
            layers,
            layout=self.loop_layout,
        )

    def weights(self) -> tuple[Weights, ...]:
        """Return each layer's effective weights, float32, for a loop of one's own."""
        return tuple(getattr(self, layer_name(n))() for n in range(self.num_layers))

    @property
    def compute_dtype(self) -> jnp.dtype:
        """The dtype of matrix products and of the hidden state."""
        return policy(self.precision).compute_dtype

    @property
    def loop_layout(self) -> Layout:
        """How arrays lie in the loops over time."""
        return choose(self.layout)

    @property
    def state_size(self) -> int:
        """How many units the state has: those of all layers, side by side."""
        return self.num_layers * self.hidden_size

    def zero_state(self, batch_size: int) -> RecurrentState:
        """Return the state at the start of a text, for `batch_size` rows."""
        return zero_state(batch_size, self.state_size, self.compute_dtype)

    def embed(self, tokens: jax.Array) -> jax.Array:
        """Return the embedding of symbols uint8[...], [..., E] in the compute dtype."""
        return self.embedding(tokens.astype(jnp.int32)).astype(self.compute_dtype)

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Return the logits float32[..., V] over the symbol that follows a state.

        Args:
            hidden: [..., H] of the last layer, in the compute dtype.
        """
        return self.output(hidden)


# One compiled call: op by op, the initialisers take seconds longer. A model is traced
# once, however often its parameters or only their shapes are asked for.
@partial(jax.jit, static_argnums=0)
def init_params(model: LanguageModel, key: jax.Array) -> dict:
    """Make the parameters, float32, from a typed random key."""
    tokens, reset = jnp.zeros((1, 1), jnp.uint8), jnp.ones((1,), bool)
    return model.init(key, tokens, model.zero_state(1), reset)["params"]
