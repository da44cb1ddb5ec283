"""Files of NVIDIA's sentiment-discovery: language models and classifiers, `.pt`.

A language model is `encoder.encoder.weight` (the embedding), `encoder.rnn.rnns.N.*` and
`decoder.*`; a classifier's file has it under `lm_encoder`, or `encoder`, beside
`classifier`; either may stand under `sd`, beside the arguments of the training.
Matrices are [out, in], plain (`w_hh`) or with weight norm (`w_hh_g`, `w_hh_v`), the
norm over the inputs; two biases add up; gates stand in the order i, f, g, o, where g is
our u.

A vocabulary of 256 is that of bytes. One of 257 has a padding token first: byte b is
row b + 1. The padding is left out, so that byte b is row b, here as everywhere. Its
scripts leave out a text's last byte when they featurize; sdjax reads all.

Reference: https://github.com/NVIDIA/sentiment-discovery (model/model.py,
reparameterization/weight_norm.py, data_utils/tokenization.py).
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from sdjax.checkpoints.convert import torchfile
from sdjax.checkpoints.convert.nvidia_classifier import read_classifier
from sdjax.checkpoints.weights import Imported, checked, file_source, flatten
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.files import staged
from sdjax.model.language_model import LanguageModel, layer_name

BYTES = 256
# Ours and theirs.
_MATRICES = {"wx": "w_ih", "wh": "w_hh", "wmx": "w_mih", "wmh": "w_mhh"}
_DTYPES = "float32", "float16"
_NO_DECODER = (
    "the file has no decoder: the output's weights are zero; features and classifiers"
    " work, bits per character and samples mean nothing"
)
_PADDING = "the vocabulary of 257 has a padding token, which is left out"


def read(path: Path) -> Imported:
    """Read a `.pt` file; nothing in it is run, and PyTorch is not needed.

    Raises:
        InputError: it is no such file, holds something else, or an array is missing, of
            another shape or dtype, or not finite.
    """
    body, classifier, settings = _parts(path, torchfile.read(path))
    arrays, prefix = _flat(path, body)

    def take(name: str, *shape: int | None, keep: bool = False) -> np.ndarray:
        place = f"{path}: {prefix}{name}"
        if name not in arrays:
            raise InputError(f"{place} is missing; found {_some(arrays)}")
        found = arrays[name] if keep else arrays.pop(name)
        return checked(found, place, shape, _DTYPES)

    embedding = take("encoder.weight", None, None)
    vocabulary, width = embedding.shape
    if vocabulary not in (BYTES, BYTES + 1):
        raise InputError(
            f"{path}: {prefix}encoder.weight has {vocabulary:,} rows, expected"
            f" {BYTES} or {BYTES + 1}: a vocabulary of bytes"
        )
    skip = vocabulary - BYTES
    model, layers = _layers(take, list(arrays), width)
    hidden, notes = model.hidden_size, [_PADDING] if skip else []
    if "decoder.weight" in arrays:
        kernel = take("decoder.weight", vocabulary, hidden)[skip:].T
        bias = take("decoder.bias", vocabulary)[skip:]
    else:
        kernel, bias = np.zeros((hidden, BYTES), "f4"), np.zeros(BYTES, "f4")
        notes.append(_NO_DECODER)
    if arrays:
        raise InputError(
            f"{path}: {prefix}{min(arrays)} is not a part of an LSTM or mLSTM"
        )
    found = None
    if classifier is not None:
        found, note = read_classifier(classifier, settings, model, path)
        notes += note
    params = {
        "embedding": {"embedding": _float32(embedding[skip:])},
        **layers,
        "output": {"kernel": _float32(kernel), "bias": _float32(bias)},
    }
    source = file_source("nvidia", [path]) | {"notes": notes}
    return Imported(model, params, Normalisation(), found, source)


def _float32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)


def _parts(path: Path, content: object) -> tuple[object, object, Mapping]:
    """Return language model, classifier or None, and the training's arguments."""
    settings = {}
    if isinstance(content, Mapping) and "sd" in content:
        settings = content.get("args") or {}
        content = content["sd"]
    if not isinstance(content, Mapping):
        kind = type(content).__name__
        raise InputError(f"{path}: holds {kind}, a state_dict was expected")
    if "param_groups" in content or "optimizer_state_dict" in content:
        raise InputError(
            f"{path}: holds the state of an optimizer, that of a model was expected"
        )
    if "lm_encoder" in content:
        return content["lm_encoder"], content.get("classifier"), settings
    if "classifier" in content:
        return content.get("encoder"), content["classifier"], settings
    return content, None, settings


def _flat(path: Path, body: object) -> tuple[dict, str]:
    """Name what the language model consists of; also what stood before each name."""
    flat = flatten(body) if isinstance(body, Mapping) else {}
    for prefix in ("encoder.", ""):
        if f"{prefix}encoder.weight" in flat:
            names = {n.removeprefix(prefix): array for n, array in flat.items()}
            return names, prefix
    raise InputError(
        f"{path}: encoder.encoder.weight, the embedding of an RNN, is missing; found"
        f" {_some(flat)}"
    )


def _some(names: Mapping) -> str:
    """The first few of some names."""
    shown = [str(name) for name in list(names)[:3]]
    return ", ".join(shown + ["..."] * (len(names) > 3)) or "nothing"


def _layers(
    take: Callable[..., np.ndarray], names: Iterable[str], width: int
) -> tuple[LanguageModel, dict]:
    """Return the model, and the parameters of its recurrent layers."""
    names = [name for name in names if name.startswith("rnn.rnns.")]
    count = max(1, len({name.split(".")[2] for name in names}))
    cell = "mlstm" if any(".w_mih" in name for name in names) else "lstm"
    with_norm = any(name.endswith("_v") for name in names)
    hidden = take("rnn.rnns.0.b_ih", None, keep=True).shape[0] // 4
    layers = {}
    for layer in range(count):
        sizes = _sizes(cell, hidden if layer else width, hidden)
        entry = layers[layer_name(layer)] = {}
        prefix = f"rnn.rnns.{layer}."
        second = take(f"{prefix}b_hh", 4 * hidden)
        bias = take(f"{prefix}b_ih", 4 * hidden).astype(np.float32) + second
        entry["b"] = _ours(bias, hidden)
        for name, (rows, columns) in sizes.items():
            theirs = f"{prefix}{_MATRICES[name]}"
            if not with_norm:
                entry[name] = _ours(take(theirs, rows, columns), hidden)
                continue
            entry[name] = _ours(take(f"{theirs}_v", rows, columns), hidden)
            length = take(f"{theirs}_g", rows, 1)[:, 0]
            entry[name.replace("w", "g")] = _ours(length, hidden)
    model = LanguageModel(
        cell=cell,
        hidden_size=hidden,
        embedding_size=width,
        use_weight_norm=with_norm,
        num_layers=count,
    )
    return model, layers


def _sizes(cell: str, inputs: int, hidden: int) -> dict[str, tuple[int, int]]:
    """Return the size of each matrix of a layer in their orientation, by our name."""
    sizes = {"wx": (4 * hidden, inputs), "wh": (4 * hidden, hidden)}
    if cell == "mlstm":
        sizes |= {"wmx": (hidden, inputs), "wmh": (hidden, hidden)}
    return sizes


def _ours(theirs: np.ndarray, hidden: int) -> np.ndarray:
    """Return float32[in, out] of [out, in], or [out]; of gates i, f, g, o: i, f, o, g.

    One copy, of whatever is mapped into memory.
    """
    ours = np.empty(theirs.shape[::-1], np.float32)
    _copy(theirs.T, ours, hidden)
    return ours


def _theirs(ours: np.ndarray, hidden: int) -> np.ndarray:
    """Undo `_ours`."""
    theirs = np.empty(ours.shape[::-1], np.float32)
    _copy(ours, theirs.T, hidden)
    return theirs


def _copy(source: np.ndarray, target: np.ndarray, hidden: int) -> None:
    """Copy [..., out]; of the four gates the last two change places, either way."""
    order = (0, 1, 3, 2) if source.shape[-1] == 4 * hidden else (0,)
    width = source.shape[-1] // len(order)
    for place, gate in enumerate(order):
        columns = slice(gate * width, (gate + 1) * width)
        target[..., place * width : (place + 1) * width] = source[..., columns]


def write(
    model: LanguageModel,
    params: Mapping,
    normalisation: Normalisation,
    out: Path,
) -> None:
    """Write a language model as a `.pt` file in float32, with a vocabulary of 256.

    Args:
        out: must not exist; appears when it is complete.

    Raises:
        InputError: `out` exists, or the vocabulary is not that of bytes.
    """
    if model.vocabulary_size != BYTES:
        raise InputError(
            f"vocabulary_size is {model.vocabulary_size}, the nvidia format holds"
            f" models with {BYTES} only; use --to safetensors"
        )
    hidden, rnn = model.hidden_size, {}
    for layer in range(model.num_layers):
        entry, prefix = params[layer_name(layer)], f"rnns.{layer}."
        for name, theirs in _MATRICES.items():
            if name not in entry:
                continue
            matrix = _theirs(np.asarray(entry[name]), hidden)
            if not model.use_weight_norm:
                rnn[f"{prefix}{theirs}"] = matrix
                continue
            length = _theirs(np.asarray(entry[name.replace("w", "g")]), hidden)
            rnn[f"{prefix}{theirs}_g"] = length[:, None]
            rnn[f"{prefix}{theirs}_v"] = matrix
        rnn[f"{prefix}b_ih"] = _theirs(np.asarray(entry["b"]), hidden)
        # Minus zero adds nothing to any number, be it minus zero itself.
        rnn[f"{prefix}b_hh"] = np.full(4 * hidden, -0.0, np.float32)
    embedding = {"weight": np.asarray(params["embedding"]["embedding"])}
    kernel, bias = params["output"]["kernel"], params["output"]["bias"]
    state = {
        "encoder": {"encoder": embedding, "rnn": rnn},
        "decoder": {"weight": np.asarray(kernel).T, "bias": np.asarray(bias)},
    }
    with staged(out) as path:
        torchfile.write(path, state)
