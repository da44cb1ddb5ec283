"""The weights of Radford et al. 2017: a folder of 15 arrays, `0.npy` to `14.npy`.

The order of https://github.com/openai/generating-reviews-discovering-sentiment: the
embedding; wx, wh in four blocks side by side, wmx, wmh; the gates' bias; gx, gh, gmx,
gmh; the output's weights and bias. Matrices are [in, out] and gates i, f, o, u, as
ours. The model has one mLSTM layer with weight norm and reads 256 bytes.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sdjax.checkpoints.weights import Imported, checked, file_source, without_floor
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.files import staged
from sdjax.integrity import array_reason
from sdjax.model.language_model import LanguageModel

COUNT = 15
MATRICES = ("wx", "wh", "wmx", "wmh")
VOCABULARY_SIZE = 256


def read(path: Path) -> Imported:
    """Read a folder of 15 arrays; those used as they are stay mapped into memory.

    Raises:
        InputError: an array is missing, of another shape or dtype, cut short, holds
            objects (which only pickle can read) or values that are not finite.
    """
    if not path.is_dir():
        raise InputError(f"{path}: not a folder; expected one with 0.npy to 14.npy")
    files = [path / f"{index}.npy" for index in range(COUNT)]
    arrays = list(map(_read_array, files))

    def take(index: int, *shape: int | None) -> np.ndarray:
        return checked(arrays[index], files[index], shape)

    embedding = take(0, VOCABULARY_SIZE, None)
    width, hidden = embedding.shape[1], take(8, None).shape[0] // 4
    recurrent = {
        "wx": take(1, width, 4 * hidden),
        # One block a gate.
        "wh": np.concatenate([take(i, hidden, hidden) for i in range(2, 6)], axis=1),
        "wmx": take(6, width, hidden),
        "wmh": take(7, hidden, hidden),
        "b": take(8, 4 * hidden),
    }
    for index, name in enumerate(MATRICES, start=9):
        g = take(index, recurrent[name].shape[1])
        recurrent[name], length = without_floor(recurrent[name], g)
        recurrent[name.replace("w", "g")] = length
    output = {
        "kernel": take(13, hidden, VOCABULARY_SIZE),
        "bias": take(14, VOCABULARY_SIZE),
    }
    return Imported(
        LanguageModel(cell="mlstm", hidden_size=hidden, embedding_size=width),
        {
            "embedding": {"embedding": embedding},
            "recurrent": recurrent,
            "output": output,
        },
        Normalisation(cleaning="openai"),
        None,
        file_source("openai", files),
    )


def _read_array(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: is missing; expected 0.npy to 14.npy in the folder"
        ) from error
    except (ValueError, EOFError) as error:
        raise InputError(
            f"{path}: cut short, damaged or not an array of numbers"
            f" ({array_reason(error)})"
        ) from error


def write(
    model: LanguageModel,
    params: Mapping,
    normalisation: Normalisation,
    out: Path,
) -> None:
    """Write a folder of 15 arrays.

    A model without weight norm is refused: with lengths g made up for it, it would come
    back as another model that agrees only but for rounding.

    Args:
        out: must not exist; appears when it is complete.

    Raises:
        InputError: the format cannot hold the model, by the name of what is in the way.
    """
    _require_openai(model)
    recurrent = params["recurrent"]
    wh = np.split(np.asarray(recurrent["wh"]), 4, axis=1)
    arrays = [params["embedding"]["embedding"], recurrent["wx"], *wh]
    arrays += [recurrent["wmx"], recurrent["wmh"], recurrent["b"]]
    arrays += [recurrent[name.replace("w", "g")] for name in MATRICES]
    arrays += [params["output"]["kernel"], params["output"]["bias"]]
    with staged(out) as folder:
        folder.mkdir()
        for index, array in enumerate(arrays):
            np.save(folder / f"{index}.npy", np.ascontiguousarray(array))


def _require_openai(model: LanguageModel) -> None:
    fixed = {
        "cell": "mlstm",
        "num_layers": 1,
        "vocabulary_size": VOCABULARY_SIZE,
        "use_weight_norm": True,
    }
    for name, wanted in fixed.items():
        if (found := getattr(model, name)) != wanted:
            raise InputError(
                f"{name} is {found!r}, the openai format holds models with {wanted!r}"
                " only; use --to nvidia or --to safetensors"
            )
