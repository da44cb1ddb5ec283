"""A model read from disk, whatever form it is in, and what its checkpoint says."""

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from sdjax.checkpoints import names, published
from sdjax.checkpoints import orbax_errors as failures
from sdjax.checkpoints.meta import Meta, model_differences
from sdjax.checkpoints.settings import model_of
from sdjax.checkpoints.stored import checkpoint_steps, read_item, read_meta, read_shapes
from sdjax.data.text import Normalisation
from sdjax.errors import Damaged, InputError
from sdjax.model.language_model import LanguageModel, init_params
from sdjax.model.precision import policy
from sdjax.terminal import show


def model_config(model: LanguageModel) -> dict:
    """Return what makes one model differ from another, as JSON."""
    keys = (
        "cell",
        "hidden_size",
        "embedding_size",
        "vocabulary_size",
        "use_weight_norm",
        "precision",
        "num_layers",
    )
    return {key: getattr(model, key) for key in keys}


_TRIES = 9  # to read a checkpoint while a training replaces it by another


class Loaded(NamedTuple):
    """A model read from disk.

    params: host arrays.
    path: the folder of the step, or the published folder.
    name: on the hub, "" of what did not come from there.
    """

    model: LanguageModel
    params: dict
    meta: Meta
    path: Path
    name: str = ""


def fingerprint(params: dict) -> str:
    """Return the SHA-256 of a model's parameters, wherever they are kept.

    It is the name of a model: features files and classifiers refer to it. Damage is
    found by the digests of `sdjax.integrity`, which are twenty times as fast.
    """
    digest = hashlib.sha256()
    leaves = jax.tree.leaves_with_path(params)
    for path, leaf in sorted((jax.tree_util.keystr(p), x) for p, x in leaves):
        digest.update(f"{path} {leaf.shape} {leaf.dtype}\n".encode())
        digest.update(np.ascontiguousarray(leaf))
    return digest.hexdigest()


def load_model(path: Path, precision: str | None = None) -> Loaded:
    """Load the model of a run (its best checkpoint on valid) or of one checkpoint.

    Args:
        path: a run's folder, or `<run>/checkpoints/<step>`; or a published folder; or,
            where there is nothing of that name, `owner/name` on the hub, or the name of
            published weights that were downloaded, such as `openai`.
        precision: compute in this instead of what the model was trained in.

    Raises:
        InputError: there is no checkpoint, or not one that this version can read.
    """
    if precision is not None:
        policy(precision)  # before anything is fetched or read
    if (named := names.resolve(path)) != path:
        return load_model(named, precision)._replace(name=str(path))
    if not path.exists() and published.is_hub_name(path):
        fetched = published.fetch(str(path))
        return _load_published(fetched, precision)._replace(name=str(path))
    if published.is_published(path):
        return _load_published(path, precision)
    for _ in range(_TRIES):
        meta, step = _best(path)
        settings = meta.model | ({"precision": precision} if precision else {})
        try:
            model = _described(step, settings)
            template = jax.eval_shape(lambda m=model: init_params(m, jax.random.key(0)))
            params = read_item(step, "params", template, meta)
            _note_older_cleaning(meta, step)
            return Loaded(model, params, meta, step)
        except Damaged:
            if step.is_dir():
                raise
    raise _always_gone(path)


def _described(step: Path, settings: Mapping) -> LanguageModel:
    """Return the model of a checkpoint; raises as `read_shapes` and `model_of`."""
    shapes = read_shapes(step, "params")
    try:
        return model_of(settings, shapes)
    except InputError as error:
        raise InputError(f"checkpoint {step}: {error}") from error


def describe(path: Path) -> Meta:
    """Return what the checkpoint that `load_model` opens says of itself.

    Raises:
        InputError: as `load_model`.
    """
    path = names.resolve(path)
    if not path.exists() and published.is_hub_name(path):
        path = published.fetch(str(path))
    if published.is_published(path):
        return _load_published(path, None).meta
    meta, step = _best(path)
    _described(step, meta.model)
    return meta


def _best(path: Path) -> tuple[Meta, Path]:
    """Return the checkpoint of a run that is best on valid, else its newest one.

    One that does not even say how good it is is named on standard error, and the others
    are used.
    """
    failures.quiet()
    for _ in range(_TRIES):
        steps = checkpoint_steps(path)
        if not steps:
            return read_meta(path), path
        found, damaged = [], []
        for step in reversed(steps):  # min() takes the first of equals: the newest
            try:
                found.append((read_meta(step), step))
            except Damaged as error:
                if step.is_dir():  # else the training has just removed it
                    damaged.append(error)
        if found:
            for error in damaged:
                show(f"warning: {error}; the others are used", file=sys.stderr)
            return min(found, key=lambda pair: pair[0].badness)
        if damaged:
            raise damaged[0]
    raise _always_gone(path)


def _note_older_cleaning(meta: Meta, place: Path) -> None:
    """Say where OpenAI's weights were converted before their cleaning was known."""
    about = meta.source.get("about", {}).get("source", {})  # of a published model
    formats = meta.source.get("format"), about.get("format")
    if "openai" in formats and meta.normalisation.cleaning == "review":
        show(
            f"note: {place} was converted by an older version: carriage returns in"
            " texts become blanks, which OpenAI's encoder leaves as they are; convert"
            " it again, or give --normalise openai",
            file=sys.stderr,
        )


def _always_gone(path: Path) -> InputError:
    return InputError(
        f"{path}: each checkpoint was removed while it was read, {_TRIES} times in a"
        " row; the training that runs there saves too often: try again"
    )


def _load_published(folder: Path, precision: str | None) -> Loaded:
    found = published.open_folder(folder)
    model = found.model.clone(precision=precision or found.model.precision)
    about = found.config["about"]
    meta = Meta(
        step=0,
        model=model_config(found.model),
        normalisation=Normalisation.from_json(found.config["normalisation"]),
        valid_bpc=about.get("valid_bpc"),
        source={"format": "safetensors", "about": about},
    )
    _note_older_cleaning(meta, folder)
    return Loaded(model, found.params, meta, folder)


def load_initial(path: Path, model: LanguageModel) -> dict:
    """Return the parameters of a checkpoint for a new training of the same model.

    Args:
        path: anything that `load_model` opens.
        model: the one to be trained, in any precision.

    Raises:
        InputError: as `load_model`; or the checkpoint is of another model: names each
            setting that differs, with both values.
    """
    loaded = load_model(path)
    found = model_differences(model_config(loaded.model), model_config(model))
    if found:
        raise InputError(
            f"initial_checkpoint {path} is of another model: {'; '.join(found)};"
            " set config.model as it is there"
        )
    return loaded.params
