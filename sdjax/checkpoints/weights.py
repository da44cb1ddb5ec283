"""What every reader of foreign weights gives, and the checks that they share."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.model.classifier import Classifier
from sdjax.model.language_model import LanguageModel


class Imported(NamedTuple):
    """A model read from a file of another format.

    Args:
        model: what the weights belong to.
        params: nested dictionaries of float32 NumPy arrays, the tree of `init_params`.
        normalisation: what is done to a text before the model reads it.
        classifier: on its features, where the file has one; without a checkpoint.
        source: JSON-able, for the checkpoint: format, files with their SHA-256.
    """

    model: LanguageModel
    params: dict
    normalisation: Normalisation
    classifier: Classifier | None
    source: dict


def checked(
    array: object,
    place: object,
    shape: tuple[int | None, ...],
    dtypes: tuple[str, ...] = ("float32",),
) -> np.ndarray:
    """Return an array of weights as it is, once it is found to be what it should be.

    Args:
        array: read from a file.
        place: the file, and the name in it, for messages.
        shape: expected; None for any size.
        dtypes: accepted.

    Raises:
        InputError: no array, or one of another dtype or shape, or with values that are
            not finite; says what was found and what was expected.
    """
    if array is None:
        raise InputError(f"{place}: is missing")
    if not isinstance(array, np.ndarray):
        raise InputError(f"{place}: is {type(array).__name__}, an array was expected")
    if array.dtype.name not in dtypes:
        raise InputError(
            f"{place}: dtype {array.dtype}, expected {' or '.join(dtypes)}"
        )
    fits = len(array.shape) == len(shape) and all(
        want in (None, size) for size, want in zip(array.shape, shape, strict=True)
    )
    if not fits or not array.size:
        raise InputError(f"{place}: shape {array.shape}, expected {_shown(shape)}")
    # A NaN is its array's minimum and maximum; neither needs an array of its own.
    if not np.isfinite(array.min()) or not np.isfinite(array.max()):
        count = int(np.count_nonzero(~np.isfinite(array)))
        raise InputError(
            f"{place}: {count:,} of {array.size:,} values are not finite, expected none"
        )
    return array


def _shown(shape: tuple[int | None, ...]) -> str:
    sizes = ["any" if size is None else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def without_floor(v: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return v and g that mean to our weight norm what they mean to `l2_normalize`.

    TensorFlow's divides by sqrt(max(sum(v^2), 1e-12)). That is the norm, unless a
    column is shorter than 1e-6; those alone are changed here (ours would make 0 / 0 of
    a column of zeros).

    Args:
        v: float32[in, out].
        g: float32[out].
    """
    squares = np.einsum("ij,ij->j", v, v, dtype=np.float64)
    short = squares < 1e-12
    if not short.any():
        return v, g
    v, g = v.copy(), g.copy()
    g[short] *= np.sqrt(squares[short]) / 1e-6
    v[0, squares == 0] = 1.0  # any direction: g is 0 there
    return v, g


def file_source(name: str, files: list[Path]) -> dict:
    """Describe files for a checkpoint: the format, and by name their SHA-256."""
    digests = {}
    for path in files:
        with open(path, "rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return {"format": name, "sha256": digests}


def flatten(tree: Mapping, prefix: str = "") -> dict[str, object]:
    """Name the leaves of nested dictionaries by their paths: `recurrent.wx`."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def unflatten(flat: Mapping[str, object]) -> dict:
    """Nest what `flatten` named."""
    tree = {}
    for name, leaf in flat.items():
        *path, last = name.split(".")
        place = tree
        for key in path:
            place = place.setdefault(key, {})
        place[last] = leaf
    return tree
