"""The cells and their gradients in NumPy float64, written from the equations."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def as_float64(tree):
    """Copy a dictionary of arrays to float64."""
    return {k: np.asarray(v, np.float64) for k, v in tree.items()}


def run(weights, inputs, hidden, cell):
    """Read a window. `weights` is a dictionary; without wmh the cell is a plain LSTM.

    Returns hidden [T, B, H], cells [T, B, H], and what `gradients` needs.
    """
    hiddens, cells, tape = [], [], []
    for x in inputs:
        m, p, q = hidden, None, None
        if "wmh" in weights:
            p, q = x @ weights["wmx"], hidden @ weights["wmh"]
            m = p * q
        z = x @ weights["wx"] + m @ weights["wh"] + weights["b"]
        i, f, o, u = np.split(z, 4, axis=1)
        i, f, o, u = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(u)
        before = hidden, cell
        cell = f * cell + i * u
        hidden = o * np.tanh(cell)
        hiddens.append(hidden)
        cells.append(cell)
        tape.append((x, before, m, p, q, (i, f, o, u), cell))
    return np.stack(hiddens), np.stack(cells), tape


def gradients(weights, tape, d_hiddens, d_hidden, d_cell):
    """Back-propagate by hand: gradients of the weights and of the inputs.

    `d_hiddens` [T, B, H] is the loss' gradient in every hidden state; `d_hidden` and
    `d_cell` [B, H] come from whatever reads the last state.
    """
    grads = {name: np.zeros_like(value) for name, value in weights.items()}
    d_inputs = []
    for kept, d_output in zip(reversed(tape), reversed(d_hiddens), strict=True):
        x, (h, c), m, p, q, (i, f, o, u), after = kept
        d_hidden = d_hidden + d_output
        d_cell = d_cell + d_hidden * o * (1 - np.tanh(after) ** 2)
        d_z = np.concatenate(
            [
                d_cell * u * i * (1 - i),
                d_cell * c * f * (1 - f),
                d_hidden * np.tanh(after) * o * (1 - o),
                d_cell * i * (1 - u**2),
            ],
            axis=1,
        )
        d_cell = d_cell * f
        grads["wx"] += x.T @ d_z
        grads["wh"] += m.T @ d_z
        grads["b"] += d_z.sum(0)
        d_x, d_hidden = d_z @ weights["wx"].T, d_z @ weights["wh"].T
        if "wmh" in weights:
            d_p, d_q = d_hidden * q, d_hidden * p
            grads["wmx"] += x.T @ d_p
            grads["wmh"] += h.T @ d_q
            d_x, d_hidden = d_x + d_p @ weights["wmx"].T, d_q @ weights["wmh"].T
        d_inputs.append(d_x)
    return grads, np.stack(d_inputs[::-1])


def run_stack(layers, inputs, hidden, cell):
    """Read a window by several layers, each on top of the one before.

    `hidden` and `cell` [B, L*H] hold the layers' states side by side, the first one
    first. Returns the same of every layer, [T, B, L*H], and the layers' tapes.
    """
    found = []
    starts = (np.split(state, len(layers), axis=1) for state in (hidden, cell))
    for weights, *start in zip(layers, *starts, strict=True):
        found.append(run(weights, inputs, *start))
        inputs = found[-1][0]
    hiddens, cells, tapes = zip(*found, strict=True)
    return np.concatenate(hiddens, axis=2), np.concatenate(cells, axis=2), tapes


def stack_gradients(layers, tapes, d_hiddens, d_hidden, d_cell):
    """Back-propagate through a stack, from the top down.

    `d_hiddens` [T, B, H] is the loss' gradient in the top layer's hidden states;
    `d_hidden` and `d_cell` [B, L*H] come from what reads the last state.
    """
    ends = (np.split(d, len(layers), axis=1)[::-1] for d in (d_hidden, d_cell))
    grads = []
    for weights, tape, *end in zip(layers[::-1], tapes[::-1], *ends, strict=True):
        grad, d_hiddens = gradients(weights, tape, d_hiddens, *end)
        grads.insert(0, grad)
    return grads, d_hiddens


def numerical_gradient(function, array, step=1e-6):
    """Central differences of a scalar function, in float64."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        values = []
        for sign in (1, -1):
            moved = array.copy()
            moved[index] += sign * step
            values.append(function(moved))
        gradient[index] = (values[0] - values[1]) / (2 * step)
    return gradient
