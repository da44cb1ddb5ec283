"""The form that models are published in: a folder, read without pickle.

`model.safetensors` holds the parameters by name (`recurrent.wx`), float32 and [in,
out]; `config.json` what model they belong to, what is done to a text before it is read
and where they come from; `README.md` says the same to people.
"""

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sdjax.checkpoints.card import card
from sdjax.checkpoints.meta import Meta
from sdjax.checkpoints.settings import model_of
from sdjax.checkpoints.weights import Imported, checked, file_source, flatten, unflatten
from sdjax.data.text import Normalisation
from sdjax.errors import Damaged, InputError
from sdjax.files import staged
from sdjax.integrity import (
    Verdict,
    check_files,
    file_digests,
    opened,
    read_object,
    sealed,
)
from sdjax.model.language_model import LanguageModel, init_params

FORMAT = "sdjax-model-1"
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
_AGAIN = "fetch it again, or write it again with sdjax convert --to safetensors"
_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


class Published(NamedTuple):
    """A published folder: `config` is its `config.json`, checked."""

    model: LanguageModel
    params: dict
    config: dict


def is_published(path: Path) -> bool:
    """Whether a folder is of this form, whole or not."""
    return any((path / name).is_file() for name in (CONFIG, WEIGHTS))


def read(path: Path) -> Imported:
    """Read a published folder as what a checkpoint is made of.

    Raises:
        InputError: as `open_folder`.
    """
    found = open_folder(path)
    return Imported(
        found.model,
        found.params,
        Normalisation.from_json(found.config["normalisation"]),
        None,
        file_source("safetensors", [path / WEIGHTS]) | {"about": found.config["about"]},
    )


def open_folder(path: Path) -> Published:
    """Read a published folder.

    Raises:
        InputError: a file is missing, damaged or of another version; a parameter is
            missing, unknown, of another shape or dtype, or not finite.
    """
    config = _read_config(path / CONFIG)
    try:
        model = model_of(config["model"], _read_shapes(path / WEIGHTS))
        Normalisation.from_json(config["normalisation"])
        _check_about(config["about"])
    except InputError as error:
        raise InputError(
            f"{path / CONFIG}: not a model that this version of sdjax knows ({error})"
        ) from error
    template = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    check_files(path, config.get("digests", {}), _AGAIN)
    arrays = _read_arrays(path / WEIGHTS)
    expected = flatten(template)
    for difference, problem in (
        (expected.keys() - arrays.keys(), "misses"),
        (arrays.keys() - expected.keys(), "has, beside what was expected,"),
    ):
        if difference:
            raise InputError(
                f"{path / WEIGHTS}: {problem} {', '.join(sorted(difference))};"
                f" {CONFIG} asks for {len(expected)} arrays"
            )
    for name, like in expected.items():
        checked(arrays[name], f"{path / WEIGHTS}: {name}", like.shape)
    return Published(model, unflatten(arrays), config)


def verify(folder: Path) -> Verdict:
    """Compare the files of a published folder with what was written.

    The card is for people, who may change it: it has no digest.

    Raises:
        InputError: it is of another format.
    """
    verdict = Verdict()
    try:
        config = _read_config(folder / CONFIG)
    except Damaged as error:
        return Verdict(problems=[str(error)])
    if "digests" not in config:
        return Verdict(without=[f"published model {folder}"])
    verdict.checked += 1
    verdict.files(folder, config["digests"], _AGAIN)
    return verdict


def _read_config(path: Path) -> dict:
    try:
        config = read_object(path)
    except FileNotFoundError as error:
        raise Damaged(
            f"{path}: is missing; a published model has {CONFIG} and {WEIGHTS}"
        ) from error
    except (ValueError, OSError) as error:
        raise Damaged(f"{path}: damaged or cut short ({error}); {_AGAIN}") from error
    config = opened(config, path, _AGAIN)
    if (found := config.get("format")) != FORMAT:
        raise InputError(f"{path}: format {found!r}, this version reads {FORMAT!r}")
    for key in ("model", "normalisation", "about"):
        if not isinstance(config.get(key), dict):
            raise InputError(
                f"{path}: {key} is {config.get(key)!r}, expected an object"
            )
    return config


def _check_about(about: Mapping) -> None:
    """Refuse what a model says of itself in another type than it is shown in."""
    source = about.get("source", {})
    if not isinstance(source, Mapping):
        raise InputError(f"about.source is {source!r}, expected an object")
    notes = source.get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(x, str) for x in notes):
        raise InputError(f"about.source.notes is {notes!r}, expected a list of texts")
    for name, (kinds, wanted) in _ABOUT.items():
        value = about.get(name)
        number = isinstance(value, float) and not math.isfinite(value)
        if name in about and (not isinstance(value, kinds) or number):
            raise InputError(f"about.{name} is {value!r}, expected {wanted}")


_ABOUT = {
    "corpus": (str, "a text"),
    "corpus_fingerprint": (str, "a text"),
    "characters": (int, "an integer"),
    "updates": (int, "an integer"),
    "valid_bpc": (int | float, "a finite number"),
}


def _read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all arrays by name; no array is read."""
    return _from_weights(path, lambda array: tuple(array.get_shape()))


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    return _from_weights(path, lambda array: array[...])


def _from_weights(path: Path, take: Callable) -> dict:
    """Take something of each array of a file, by name."""
    try:
        with safe_open(path, framework="np") as file:
            return {name: take(file.get_slice(name)) for name in file.keys()}
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: is missing; a published model has {CONFIG} and {WEIGHTS}"
        ) from error
    # What NumPy has no name for (bfloat16) is a TypeError.
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: cut short, damaged or not safetensors ({reason})"
        ) from error


def write(
    model: LanguageModel,
    params: Mapping,
    normalisation: Normalisation,
    out: Path,
    meta: Meta | None = None,
) -> None:
    """Write a published folder.

    Args:
        out: must not exist; appears when it is complete.
        meta: what a checkpoint says of itself, for the configuration and the card.

    Raises:
        InputError: `out` exists.
        OSError: names `out`; it could not be written.
    """
    settings = [f.name for f in fields(model) if f.name not in ("parent", "name")]
    config = {
        "format": FORMAT,
        "model": {name: getattr(model, name) for name in settings},
        "normalisation": normalisation.as_json(),
        "about": _about(meta) if meta else {},
    }
    # Of arrays that are not contiguous safetensors writes other values in silence.
    arrays = {
        name: np.ascontiguousarray(leaf, np.float32)
        for name, leaf in flatten(params).items()
    }
    with staged(out) as folder:
        folder.mkdir()
        _save(arrays, folder / WEIGHTS)
        config["digests"] = file_digests(folder, [WEIGHTS])
        text = json.dumps(sealed(config), indent=2, allow_nan=False) + "\n"
        (folder / CONFIG).write_text(text, encoding="utf-8")
        # safetensors lets nobody else read it, whatever the umask says.
        (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)
        (folder / CARD).write_text(
            card(config, normalisation, arrays), encoding="utf-8"
        )
        with safe_open(folder / WEIGHTS, framework="np") as written:
            for name, array in arrays.items():  # one at a time in memory
                if not np.array_equal(written.get_tensor(name), array):
                    raise OSError(f"{name} was read back as something else")


def _save(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Write a file of arrays; a full disk is an `OSError`, as everywhere else."""
    try:
        save_file(arrays, path)
    except SafetensorError as error:
        if number := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
        raise


def _about(meta: Meta) -> dict:
    """Pick what a checkpoint knows of its training; without paths of this machine."""
    progress, source = meta.progress, dict(meta.source)
    corpus = Path(str(meta.config.get("corpus", ""))).name
    # Of a model that was published before: its training is what counts.
    earlier = source.pop("about", {})
    known = {
        "source": source or None,
        "corpus": corpus or None,
        "corpus_fingerprint": meta.corpus if corpus else None,
        "characters": progress.get("chars"),
        "updates": progress.get("updates"),
        "valid_bpc": meta.valid_bpc,
        "finetuned": True if meta.finetuned else None,
    }
    return {key: value for key, value in known.items() if value is not None} | earlier


def is_hub_name(path: Path) -> bool:
    """Whether a path can only be a name on the hub: `owner/name`, not a place here.

    Where there is a folder `owner`, it is a path that was mistyped.
    """
    return bool(_NAME.fullmatch(str(path))) and not path.parent.exists()


def fetch(name: str) -> Path:
    """Return the folder of a published model, downloaded unless it is here already.

    Raises:
        InputError: huggingface_hub is not installed, there is no network or no such
            model.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import EntryNotFoundError
    except ImportError as error:
        raise InputError(
            f"no checkpoint in {name}, there is no such folder; for a model of that"
            " name on the hub install huggingface_hub (pip install 'sdjax[hub]')"
        ) from error
    try:
        return Path(snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS]))
    except (OSError, ValueError, EntryNotFoundError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"no checkpoint in {name}, there is no such folder, and the hub gave no"
            f" model of that name ({reason}); check the path, the name and the network"
        ) from error
