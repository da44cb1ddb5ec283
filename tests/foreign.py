"""Random weights in the layouts of other projects, and their models in NumPy float64.

Each model is written from its own project's equations and gate order; nothing of sdjax
is used in them. `every_step` is what they are compared with.
"""

import jax
import numpy as np

from sdjax.model.language_model import init_params

VOCABULARY = 256


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def random(rng, *shape, scale=0.5) -> np.ndarray:
    return rng.normal(0, scale, shape).astype(np.float32)


def openai_arrays(hidden=8, width=4, seed=0) -> list[np.ndarray]:
    """The 15 arrays of generating-reviews-discovering-sentiment."""
    rng = np.random.default_rng(seed)
    wh = [random(rng, hidden, hidden) for _ in range(4)]
    matrices = [random(rng, width, hidden), random(rng, hidden, hidden)]
    lengths = [4 * hidden, 4 * hidden, hidden, hidden]
    return [
        random(rng, VOCABULARY, width, scale=1.0),
        random(rng, width, 4 * hidden),
        *wh,
        *matrices,
        random(rng, 4 * hidden),
        *(random(rng, length, scale=1.0) for length in lengths),
        random(rng, hidden, VOCABULARY),
        random(rng, VOCABULARY),
    ]


def run_openai(arrays, tokens, cell, hidden):
    """Its encoder.py: logits, hidden and cell after each byte, [T, B, ...].

    tf.nn.l2_normalize divides by the root of the sum of squares, or of 1e-12.
    """
    p = [array.astype(np.float64) for array in arrays]
    embedding, wx, wmx, wmh, b = p[0], p[1], p[6], p[7], p[8]
    wh = np.concatenate(p[2:6], axis=1)

    def normalised(w, g):
        return w / np.sqrt(np.maximum((w**2).sum(0), 1e-12)) * g

    wx, wh = normalised(wx, p[9]), normalised(wh, p[10])
    wmx, wmh = normalised(wmx, p[11]), normalised(wmh, p[12])
    steps = []
    for x in embedding[tokens]:
        m = (x @ wmx) * (hidden @ wmh)
        i, f, o, u = np.split(x @ wx + m @ wh + b, 4, axis=1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(u)
        hidden = sigmoid(o) * np.tanh(cell)
        steps.append((hidden @ p[13] + p[14], hidden, cell))
    return [np.stack(part) for part in zip(*steps, strict=True)]


def nvidia_arrays(
    cell="mlstm", weight_norm=True, vocabulary=256, layers=1, dtype="float32", seed=0
) -> dict:
    """A language model's state_dict of sentiment-discovery."""
    rng, hidden, width, rnn = np.random.default_rng(seed), 8, 4, {}
    for layer in range(layers):
        inputs = hidden if layer else width
        sizes = {"w_ih": (4 * hidden, inputs), "w_hh": (4 * hidden, hidden)}
        if cell == "mlstm":
            sizes |= {"w_mih": (hidden, inputs), "w_mhh": (hidden, hidden)}
        for name, size in sizes.items():
            key = f"rnns.{layer}.{name}"
            if weight_norm:
                rnn[f"{key}_g"] = random(rng, size[0], 1, scale=1.0)
            rnn[f"{key}_v" if weight_norm else key] = random(rng, *size)
        for name in ("b_ih", "b_hh"):
            rnn[f"rnns.{layer}.{name}"] = random(rng, 4 * hidden)
    embedding = {"weight": random(rng, vocabulary, width, scale=1.0)}
    decoder = {
        "weight": random(rng, vocabulary, hidden),
        "bias": random(rng, vocabulary),
    }
    state = {"encoder": {"encoder": embedding, "rnn": rnn}, "decoder": decoder}
    return cast(state, dtype)


def cast(state: dict, dtype: str) -> dict:
    """Nested arrays in another dtype."""
    return {
        key: cast(value, dtype) if isinstance(value, dict) else value.astype(dtype)
        for key, value in state.items()
    }


def run_nvidia(state, tokens, cells, hiddens):
    """Its cells.py and model.py; cells and hiddens: a list of [B, H], one a layer.

    Returns logits of the tokens [T, B, V], and hidden and cell [T, L, B, H].
    """
    state = cast(state, "float64")
    rnn, embedding = state["encoder"]["rnn"], state["encoder"]["encoder"]["weight"]
    cells, hiddens, steps = list(cells), list(hiddens), []

    def weight(layer, name):
        key = f"rnns.{layer}.{name}"
        if key in rnn:
            return rnn[key]
        v = rnn[f"{key}_v"]
        return v * (rnn[f"{key}_g"] / np.linalg.norm(v, axis=1, keepdims=True))

    for x in embedding[tokens]:
        for layer in range(len(cells)):
            m = hiddens[layer]
            if any("w_mih" in key for key in rnn):
                m = (x @ weight(layer, "w_mih").T) * (m @ weight(layer, "w_mhh").T)
            gates = x @ weight(layer, "w_ih").T + rnn[f"rnns.{layer}.b_ih"]
            gates = gates + m @ weight(layer, "w_hh").T + rnn[f"rnns.{layer}.b_hh"]
            ingate, forget, candidate, outgate = np.split(gates, 4, axis=1)
            cells[layer] = sigmoid(forget) * cells[layer]
            cells[layer] = cells[layer] + sigmoid(ingate) * np.tanh(candidate)
            x = hiddens[layer] = sigmoid(outgate) * np.tanh(cells[layer])
        logits = x @ state["decoder"]["weight"].T + state["decoder"]["bias"]
        steps.append((logits, np.stack(hiddens), np.stack(cells)))
    return [np.stack(part) for part in zip(*steps, strict=True)]


def random_params(model, seed=0) -> dict:
    """Random parameters of one of our models, without compiling its initialisers."""
    key = jax.random.key(0)
    shapes = jax.eval_shape(lambda: init_params(model, key))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda like: random(rng, *like.shape), shapes)


def every_step(imported, tokens, state):
    """Logits, hidden and cell of all layers after each byte, by a converted model."""

    @jax.jit  # one compilation for all three
    def run(params, tokens, state):
        variables, reset = {"params": params}, np.zeros(tokens.shape[1], bool)
        logits = imported.model.apply(variables, tokens, state, reset)["logits"]
        traced = [
            imported.model.apply(variables, tokens, state, of, "all", method="trace")[0]
            for of in ("hidden", "cell")
        ]
        return logits, *traced

    return run(imported.params, tokens, state)
