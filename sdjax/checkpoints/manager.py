"""Checkpoints by orbax: everything that the next step depends on, and back again."""

import errno
import shutil
from functools import partial
from pathlib import Path

import jax
import orbax.checkpoint as ocp
from flax.training.train_state import TrainState
from orbax.checkpoint import checkpoint_managers

from sdjax.checkpoints import orbax_errors as failures
from sdjax.checkpoints.load import shape_templates
from sdjax.checkpoints.meta import Meta
from sdjax.model.cell import RecurrentState


class Checkpoints:
    """The checkpoints of one run: `<folder>/<step>/`, written asynchronously.

    A step's folder appears under its name only when it is complete. Kept are the last
    `keep_last`, the best on valid, and every `keep_every_steps`-th (0: none of those).
    Use it as a context manager: leaving waits for the write under way.
    """

    def __init__(self, folder: Path, keep_last: int, keep_every_steps: int = 0):
        failures.quiet()
        policies = [
            checkpoint_managers.LatestN(keep_last),
            checkpoint_managers.BestN(
                get_metric_fn=lambda metrics: metrics["valid_bpc"], reverse=True, n=1
            ),
        ]
        if keep_every_steps:
            policies.append(checkpoint_managers.EveryNSteps(keep_every_steps))
        self._folder = folder
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            cleanup_tmp_directories=True,
            multiprocessing_options=_only_this_process(),
            create=False,  # which orbax does for all processes together or not at all
        )
        with failures.naming_folder(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def __enter__(self):
        self._hushed = failures.hushed()
        self._hushed.__enter__()
        return self

    def __exit__(self, kind, *_):
        try:
            with failures.naming_folder(self._folder):
                self._manager.close()
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
        with failures.naming_folder(self._folder):
            self._manager.save(
                meta.step,
                args=ocp.args.Composite(
                    params=ocp.args.StandardSave(params),
                    state=ocp.args.StandardSave(rest),
                    meta=ocp.args.JsonSave(meta.as_json()),
                ),
                # An unmeasured or NaN step must never pass for the best one.
                metrics={"valid_bpc": meta.badness},
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

    def check(self) -> None:
        """Raise what a save in the background failed of, as the next save would."""
        if not self._manager.is_saving_in_progress():
            self.wait()

    def meta(self, step: int) -> Meta:
        """Read what `save` was given as meta."""
        items = ocp.args.Composite(meta=ocp.args.JsonRestore())
        return Meta.from_json(self._read(step, items)["meta"], self._folder / str(step))

    def restore(
        self, step: int, state: TrainState, carry: RecurrentState
    ) -> tuple[TrainState, RecurrentState]:
        """Read a step back, into the shapes and dtypes of `state` and `carry`.

        Args:
            state: a train state of the same model, for its structure.
            carry: [D, B, H], for its shape.

        Returns:
            The state and carry that were saved, as host arrays.

        Raises:
            InputError: the step is damaged.
        """
        params, rest = _split(state)
        rest["carry"] = [x.reshape(-1, x.shape[-1]) for x in carry]
        items = ocp.args.Composite(
            params=ocp.args.StandardRestore(shape_templates(params)),
            state=ocp.args.StandardRestore(shape_templates(rest)),
        )
        restored = self._read(step, items)
        rest = jax.device_get(restored["state"])
        saved_carry = [
            saved.reshape(like.shape)
            for saved, like in zip(rest.pop("carry"), carry, strict=True)
        ]
        state = state.replace(params=jax.device_get(restored["params"]), **rest)
        return state, RecurrentState(*saved_carry)

    def _read(self, step: int, items: ocp.args.Composite):
        restore = partial(self._manager.restore, step, args=items)
        return failures.read(self._folder / str(step), restore)


def _only_this_process() -> ocp.options.MultiprocessingOptions:
    """Keep orbax from waiting for other processes: one writes for all of them."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    index = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index,
        active_processes={index},
        barrier_sync_key_prefix=f"sdjax-{index}",
    )


def _split(state: TrainState) -> tuple[dict, dict]:
    """Parameters are an item of their own: features need nothing else."""
    rest = {k: getattr(state, k) for k in ("step", "opt_state", "loss_scale")}
    return state.params, rest
