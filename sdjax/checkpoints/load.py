"""A model read from disk, whatever form it is in, and what its checkpoint says."""

import hashlib
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from sdjax.checkpoints import orbax_errors as failures
from sdjax.checkpoints import published
from sdjax.checkpoints.meta import Meta, model_differences
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.model.language_model import LanguageModel, init_params


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


class Loaded(NamedTuple):
    """A model read from disk: `params` are host arrays, `path` the step's folder."""

    model: LanguageModel
    params: dict
    meta: Meta
    path: Path


def fingerprint(params: dict) -> str:
    """Return the SHA-256 of a model's parameters, wherever they are kept."""
    digest = hashlib.sha256()
    leaves = jax.tree.leaves_with_path(params)
    for path, leaf in sorted((jax.tree_util.keystr(p), x) for p, x in leaves):
        digest.update(f"{path} {leaf.shape} {leaf.dtype}\n".encode())
        digest.update(np.ascontiguousarray(leaf))
    return digest.hexdigest()


def checkpoint_steps(run: Path) -> list[Path]:
    """Return the complete checkpoints of a run, oldest first."""
    steps = (run / "checkpoints").glob("[0-9]*")
    return sorted((p for p in steps if p.name.isdigit()), key=lambda p: int(p.name))


def load_model(path: Path, precision: str | None = None) -> Loaded:
    """Load the model of a run (its best checkpoint on valid) or of one checkpoint.

    Args:
        path: a run's folder, or `<run>/checkpoints/<step>`; or a published folder; or,
            where there is nothing of that name, `owner/name` on the hub.
        precision: compute in this instead of what the model was trained in.

    Raises:
        InputError: there is no checkpoint, or not one that this version can read.
    """
    if not path.exists() and published.is_hub_name(path):
        path = published.fetch(str(path))
    if published.is_published(path):
        return _load_published(path, precision)
    meta, step = _best(path)
    settings = meta.model | ({"precision": precision} if precision else {})
    model = LanguageModel(**settings)
    template = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    with ocp.StandardCheckpointer() as reader:
        place = (step / "params").absolute()
        params = failures.read(
            step, partial(reader.restore, place, shape_templates(template))
        )
    return Loaded(model, jax.device_get(params), meta, step)


def describe(path: Path) -> Meta:
    """Return what the checkpoint that `load_model` opens says of itself.

    Raises:
        InputError: as `load_model`.
    """
    if not path.exists() and published.is_hub_name(path):
        path = published.fetch(str(path))
    if published.is_published(path):
        return _load_published(path, None).meta
    return _best(path)[0]


def _best(path: Path) -> tuple[Meta, Path]:
    """Return the checkpoint of a run that is best on valid, else its newest one."""
    failures.quiet()
    steps = checkpoint_steps(path) or [path]
    # Among unmeasured ones the newest: min() takes the first of equals.
    metas = [(read_meta(step), step) for step in reversed(steps)]
    return min(metas, key=lambda found: found[0].badness)


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
    return Loaded(model, found.params, meta, folder)


def read_meta(step: Path) -> Meta:
    """Read what a checkpoint says of itself and its run, without its parameters.

    Raises:
        InputError: there is none, it is damaged, or of another format.
    """
    if not (step / "meta").is_dir():
        raise InputError(
            f"no checkpoint in {step}: give a run's folder (train.py's --workdir),"
            " <run>/checkpoints/<step> or a published folder"
        )
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
        found = failures.read(step, partial(reader.restore, (step / "meta").absolute()))
    return Meta.from_json(found, step)


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


def shape_templates(tree):
    """Templates that orbax checks, unlike arrays: shape, dtype, one local device."""
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=device), tree
    )
