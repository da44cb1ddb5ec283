"""One checkpoint on disk: what it says of itself, and its arrays, each one verified."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from sdjax.checkpoints import orbax_errors as failures
from sdjax.checkpoints.meta import Meta
from sdjax.errors import Damaged, InputError
from sdjax.integrity import Verdict, array_digest, opened, read_object, sealed

META = "metadata"  # the file in the item `meta`
_FIX = "use another step of the run, or move this one away"


def checkpoint_steps(run: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    steps = (run / "checkpoints").glob("[0-9]*")
    return sorted((p for p in steps if p.name.isdigit()), key=lambda p: int(p.name))


def named_arrays(tree) -> dict[str, np.ndarray]:
    """Return the arrays of a tree by their paths, such as `recurrent.wx`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf
        for path, leaf in leaves
    }


def digests(tree) -> dict[str, str]:
    """Return the digest of each array of a tree, by its path."""
    return {name: array_digest(array) for name, array in named_arrays(tree).items()}


def meta_bytes(meta: Meta) -> bytes:
    """Return the file that `read_meta` reads."""
    return json.dumps(sealed(meta.as_json())).encode()


def read_meta(step: Path) -> Meta:
    """Read what a checkpoint says of itself and its run, without its arrays.

    Raises:
        InputError: there is none, or it is of another format.
        Damaged: there is one, but this part of it cannot be read.
    """
    path = step / "meta" / META
    try:
        stored = read_object(path)
    except OSError as error:
        if step.name.isdigit() and step.is_dir():
            reason = error.strerror or error
            raise Damaged(
                f"checkpoint {step}: damaged, {path} cannot be read ({reason}); {_FIX}"
            ) from error
        raise InputError(
            f"no checkpoint in {step}: give a run's folder (train.py's --workdir),"
            " <run>/checkpoints/<step> or a published folder"
        ) from error
    except ValueError as error:
        raise Damaged(
            f"checkpoint {step}: damaged, {path} is not JSON ({error}); {_FIX}"
        ) from error
    return Meta.from_json(opened(stored, path, _FIX), step)


def read_item(step: Path, item: str, like, meta: Meta):
    """Read the arrays of an item and compare each with its digest.

    They are read into the host's memory, also where there are devices: a model that is
    trained with `master_params=host` need not fit on one of them.

    Args:
        item: "params" or "state".
        like: a tree of arrays, or of their shapes and dtypes.
        meta: of this checkpoint; one of an older version has no digests.

    Returns:
        The tree, of NumPy arrays.

    Raises:
        Damaged: a file cannot be read, an array is not what was saved, or a parameter
            is not finite.
    """
    place = (step / item).absolute()
    with _reader() as reader:
        restore = partial(reader.restore, place, shape_templates(like))
        found = jax.device_get(failures.read(step, item, restore))
    wanted = meta.digests.get(item, {})
    for name, digest in digests(found).items() if wanted else ():
        if digest != wanted.get(name):
            raise _differs(step, item, name)
    if item == "params":
        _check_finite(step, named_arrays(found))
    return found


def _check_finite(step: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse parameters of a training that diverged before it was stopped for that."""
    for name, array in arrays.items():
        # A NaN is its array's minimum; neither end needs an array of its own.
        if not np.isfinite(array.min()) or not np.isfinite(array.max()):
            count = int(np.count_nonzero(~np.isfinite(array)))
            raise Damaged(
                f"checkpoint {step}: {count:,} of {array.size:,} values of the array"
                f" {name} are not finite: its training diverged; {_FIX}"
            )


def _differs(step: Path, item: str, name: str) -> Damaged:
    return Damaged(
        f"checkpoint {step}: damaged, the array {name} of {step / item} is not what was"
        f" saved; {_FIX}"
    )


def read_shapes(step: Path, item: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of an item's arrays by their paths; no array is read.

    Raises:
        Damaged: the item cannot be read.
    """
    place = (step / item).absolute()
    with _plain_reader() as reader:

        def shapes():
            described = reader.metadata(place).item_metadata.tree
            leaves = named_arrays(described).items()
            return {name: tuple(leaf.shape) for name, leaf in leaves}

        return failures.read(step, item, shapes)


def verify(step: Path) -> Verdict:
    """Compare all of a checkpoint with what was saved.

    Raises:
        InputError: there is no checkpoint.
    """
    failures.quiet()
    verdict = Verdict()
    try:
        meta = read_meta(step)
    except Damaged as error:
        return Verdict(problems=[str(error)])
    if not meta.digests:
        return Verdict(without=[f"checkpoint {step}"])
    verdict.checked += 1
    for item, wanted in meta.digests.items():
        try:
            found = digests(_as_stored(step, item))
        except Damaged as error:
            verdict.problems.append(str(error))
            continue
        for name in sorted({*wanted, *found}):
            if found.get(name) == wanted.get(name):
                verdict.checked += 1
            else:
                verdict.problems.append(str(_differs(step, item, name)))
    return verdict


def verify_run(run: Path) -> Verdict:
    """Compare all checkpoints of a run with what was saved.

    Raises:
        InputError: there is none.
    """
    steps = checkpoint_steps(run)
    if not steps:
        return verify(run)
    verdict = Verdict()
    for step in steps:
        verdict.add(verify(step))
    return verdict


def _as_stored(step: Path, item: str):
    """Read an item as nested dictionaries, for its arrays alone."""
    with _plain_reader() as reader:
        place = (step / item).absolute()

        def restore():
            like = reader.metadata(place).item_metadata.tree
            kinds = jax.tree.map(
                lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like
            )
            return reader.restore(place, ocp.args.PyTreeRestore(restore_args=kinds))

        return failures.read(step, item, restore)


def _plain_reader() -> ocp.Checkpointer:
    """Return what reads an item without being told what should be in it."""
    return ocp.Checkpointer(
        ocp.PyTreeCheckpointHandler(), multiprocessing_options=only_this_process()
    )


def _reader() -> ocp.Checkpointer:
    return ocp.Checkpointer(
        ocp.StandardCheckpointHandler(multiprocessing_options=only_this_process()),
        multiprocessing_options=only_this_process(),
    )


def only_this_process() -> ocp.options.MultiprocessingOptions:
    """Keep orbax from waiting for other processes: one reads and writes for all."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    index = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index,
        active_processes={index},
        barrier_sync_key_prefix=f"sdjax-{index}",
    )


def shape_templates(tree: Mapping):
    """Templates that orbax checks, unlike arrays: shape, dtype, the host's memory."""
    place = jax.sharding.SingleDeviceSharding(_host())
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=place), tree
    )


def _host() -> jax.Device:
    """Return a device whose memory is the host's, where jax was given one."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS names accelerators only
        return jax.local_devices()[0]
