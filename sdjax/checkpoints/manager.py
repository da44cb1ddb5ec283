"""Checkpoints by orbax: everything that the next step depends on, and back again."""

import errno
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from flax.training.train_state import TrainState
from orbax.checkpoint import future

from sdjax.checkpoints import orbax_errors as failures
from sdjax.checkpoints.meta import Meta
from sdjax.checkpoints.stored import (
    META,
    checkpoint_steps,
    digests,
    meta_bytes,
    only_this_process,
    read_item,
    read_meta,
)
from sdjax.errors import Damaged, InputError
from sdjax.model.cell import RecurrentState
from sdjax.model.precision import policy

_TRASH = ".deleted"  # a checkpoint is moved there first, so none is ever half there


class Resumed(NamedTuple):
    """Where a run goes on: what `save` was given, as host arrays.

    damaged: what was wrong with each newer checkpoint, a line each.
    """

    meta: Meta
    state: TrainState
    carry: RecurrentState
    damaged: list[str]


class Checkpoints:
    """The checkpoints of one run: `<folder>/<step>/`, written asynchronously.

    A step's folder appears under its name only when it is complete, and is gone from
    there at once when it is deleted. Kept are the last `keep_last`, the best on valid,
    and every `keep_every_steps`-th (0: none of those). Use it as a context manager:
    leaving waits for the write under way.
    """

    def __init__(self, folder: Path, keep_last: int, keep_every_steps: int = 0):
        failures.quiet()
        self._folder = folder
        self._kept = _Kept({}, keep_last, keep_every_steps)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._kept,
            cleanup_tmp_directories=True,
            multiprocessing_options=only_this_process(),
            create=False,  # which orbax does for all processes together or not at all
            todelete_subdir=_TRASH,
        )
        with failures.naming_folder(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._empty_trash()
            # Orbax does not write what a step scored: after a restart only its meta
            # knows, and without it nothing would ever be deleted.
            for step in checkpoint_steps(folder.parent):
                try:
                    self._kept.badness[int(step.name)] = read_meta(step).badness
                except InputError:
                    continue  # never the best; `resume` names it
            self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def __enter__(self):
        self._hushed = failures.hushed()
        self._hushed.__enter__()
        return self

    def __exit__(self, kind, *_):
        try:
            with failures.naming_folder(self._folder):
                self._manager.close()
                self._empty_trash()
        except OSError:
            if kind is None:  # else it is what the caller already knows
                raise
        finally:
            if kind is not None:
                failures.settle()
            self._hushed.__exit__(None, None, None)

    @property
    def latest(self) -> int | None:
        """The newest complete step, None when there is none."""
        return self._manager.latest_step()

    def save(
        self,
        state: TrainState,
        carry: RecurrentState,
        meta: Meta,
    ) -> None:
        """Start writing; returns once the arrays are on the host.

        Args:
            state: replicated on every device.
            carry: [D, B, H] on devices; stored as [D * B, H], so that another number
                of devices can read it.
            meta: of this step.

        Raises:
            OSError: names the folder; this step, or the one saved before it, could not
                be written.
        """
        params, rest = _split(jax.device_get(state))
        rest["carry"] = [x.reshape(-1, x.shape[-1]) for x in jax.device_get(carry)]
        self._check_space(sum(x.nbytes for x in jax.tree.leaves((params, rest))))
        self._kept.badness[meta.step] = meta.badness
        with failures.naming_folder(self._folder):
            # Orbax would wait itself; until then it may be moving things to the trash.
            self._manager.wait_until_finished()
            self._empty_trash()
            self._manager.save(
                meta.step,
                args=ocp.args.Composite(
                    params=ocp.args.StandardSave(params),
                    state=ocp.args.StandardSave(rest),
                    meta=_MetaSave(meta, {"params": params, "state": rest}),
                ),
            )

    def _check_space(self, needed: int) -> None:
        """Refuse in time: what orbax finds too late it reports at the next save."""
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            raise OSError(
                errno.ENOSPC,
                f"a checkpoint takes {needed / 1e6:,.1f} MB, the disk has"
                f" {free / 1e6:,.1f} MB left",
                str(self._folder),
            )

    def wait(self) -> None:
        """Wait until the save under way is on disk; raises as `save` does."""
        with failures.naming_folder(self._folder):
            self._manager.wait_until_finished()
            self._empty_trash()

    def check(self) -> None:
        """Raise what a save in the background failed of, as the next save would."""
        if not self._manager.is_saving_in_progress():
            self.wait()

    def meta(self, step: int) -> Meta:
        """Read what `save` was given as meta."""
        return read_meta(self._folder / str(step))

    def resume(
        self,
        state: TrainState,
        carry: RecurrentState,
        accept: Callable[[Meta], None],
        step: int | None = None,
    ) -> Resumed | None:
        """Read the newest checkpoint that is whole, and put away those that are newer.

        A damaged one is renamed to `<step>.damaged`, and never deleted.

        Args:
            state, carry: as for `restore`.
            accept: raises an `InputError` where a checkpoint is of another run.
            step: read this one instead; newer ones are renamed to `<step>.newer`.

        Returns:
            None where there is no checkpoint at all.

        Raises:
            InputError: there are checkpoints and none of them is whole, or not the one
                that was asked for.
        """
        steps = [int(path.name) for path in checkpoint_steps(self._folder.parent)]
        if step is not None:
            if step not in steps:
                raise InputError(
                    f"--step {step}: {self._folder} has {_listed(steps)}; give one of"
                    " these"
                )
            meta = self.meta(step)
            accept(meta)
            resumed = Resumed(meta, *self.restore(step, state, carry, meta), [])
            self._put_away([other for other in steps if other > step], "newer")
            return resumed
        damaged = {}
        for step in reversed(steps):
            try:
                meta = self.meta(step)
                accept(meta)
                restored = self.restore(step, state, carry, meta)
            except Damaged as error:
                damaged[step] = str(error)
                continue
            self._put_away(list(damaged), "damaged")
            return Resumed(meta, *restored, list(damaged.values()))
        if damaged:
            first = next(iter(damaged.values()))
            raise InputError(
                f"none of the checkpoints in {self._folder} is whole"
                f" ({len(damaged)} tried; {first}); use another --workdir to begin"
                " again"
            )
        return None

    def reload(self) -> None:
        """Look again which steps there are: one was removed by somebody else."""
        steps = {int(path.name) for path in checkpoint_steps(self._folder.parent)}
        for step in self._kept.badness.keys() - steps:
            self._kept.badness.pop(step)
        self._manager.reload()

    def _put_away(self, steps: Sequence[int], suffix: str) -> None:
        """Rename steps, so that nothing takes them for checkpoints of the run."""
        with failures.naming_folder(self._folder):
            for step in steps:
                name, count = f"{step}.{suffix}", 1
                while os.path.lexists(self._folder / name):
                    count += 1
                    name = f"{step}.{suffix}.{count}"
                os.rename(self._folder / str(step), self._folder / name)
                self._kept.badness.pop(step, None)
        if steps:
            self._manager.reload()

    def restore(
        self,
        step: int,
        state: TrainState,
        carry: RecurrentState,
        meta: Meta | None = None,
    ) -> tuple[TrainState, RecurrentState]:
        """Read a step back, into the shapes and dtypes of `state` and `carry`.

        Args:
            state: a train state of the same model, for its structure.
            carry: [D, B, H], for its shape.
            meta: of the step, where it is known already.

        Returns:
            The state and carry that were saved, as host arrays.

        Raises:
            Damaged: the step is not what was saved.
        """
        params, rest = _split(state)
        place = self._folder / str(step)
        meta = meta or self.meta(step)
        # The digests are of what was saved, maybe in another precision.
        saved_dtypes = policy(meta.model["precision"]).compute_dtype, jnp.float32
        rest["carry"] = [
            jax.ShapeDtypeStruct((x.shape[0] * x.shape[1], x.shape[2]), dtype)
            for x, dtype in zip(carry, saved_dtypes, strict=True)
        ]
        params = read_item(place, "params", params, meta)
        rest = read_item(place, "state", rest, meta)
        saved_carry = [
            saved.reshape(like.shape).astype(like.dtype)
            for saved, like in zip(rest.pop("carry"), carry, strict=True)
        ]
        return state.replace(params=params, **rest), RecurrentState(*saved_carry)

    def _empty_trash(self) -> None:
        shutil.rmtree(self._folder / _TRASH, ignore_errors=True)


class _Kept:
    """The rule by which checkpoints are kept, as orbax asks for it.

    Args:
        badness: by step, of those that are there; changes as they come.
    """

    def __init__(self, badness: dict[int, float], keep_last: int, every: int):
        self.badness, self._last, self._every = badness, keep_last, every

    def should_preserve(self, checkpoints, *, context) -> list[bool]:
        steps = [info.step for info in checkpoints]
        kept = steps_to_keep(steps, self.badness, self._last, self._every)
        return [step in kept for step in steps]


def steps_to_keep(
    steps: Sequence[int], badness: Mapping[int, float], last: int, every: int
) -> set[int]:
    """Return the last few steps, the best one and every n-th.

    Args:
        badness: by step; one that is missing, or infinite, is never the best.
        last: how many of the newest.
        every: keep what this divides; 0 for none of them.
    """
    kept = set(sorted(steps)[-last:])
    measured = [s for s in steps if badness.get(s, float("inf")) < float("inf")]
    if measured:
        kept.add(min(measured, key=lambda step: (badness[step], -step)))
    return kept | {step for step in steps if every and step % every == 0}


class _MetaHandler(ocp.JsonCheckpointHandler):
    """Writes `meta`; digests the arrays on the way, beside the training."""

    async def async_save(self, directory, args):
        return [
            future.CommitFutureAwaitingContractedSignals(
                self._write(directory, args), name="sdjax_meta"
            )
        ]

    async def _write(self, directory, args) -> None:
        found = {item: digests(tree) for item, tree in args.items.items()}
        content = meta_bytes(replace(args.meta, digests=found))
        (directory / META).write_bytes(content)


@ocp.args.register_with_handler(_MetaHandler, for_save=True, for_restore=True)
@dataclass
class _MetaSave(ocp.args.CheckpointArgs):
    """What the item `meta` is written from: its digests are those of the arrays."""

    meta: Meta
    items: Mapping


def _listed(steps: Sequence[int]) -> str:
    return ", ".join(map(str, steps)) or "no checkpoint"


def _split(state: TrainState) -> tuple[dict, dict]:
    """Parameters are an item of their own: features need nothing else."""
    rest = {k: getattr(state, k) for k in ("step", "opt_state", "loss_scale")}
    return state.params, rest
