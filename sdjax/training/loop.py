"""Training: start or resume a run, take its steps, log, evaluate and save."""

import sys
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
from tqdm import tqdm

from sdjax.checkpoints.load import load_initial
from sdjax.checkpoints.manager import Checkpoints
from sdjax.checkpoints.meta import check_same_run
from sdjax.data.prefetch import Prefetch
from sdjax.data.windows import Batch
from sdjax.errors import InputError
from sdjax.locks import locked
from sdjax.model.cell import RecurrentState
from sdjax.model.devices import spread, steps_ahead, zero_carry
from sdjax.model.precision import resumed_loss_scale
from sdjax.training import multihost
from sdjax.training.evaluate import evaluator
from sdjax.training.metrics import Clock, MetricsLog, Progress
from sdjax.training.parallel import Placement, placement, split_batch
from sdjax.training.process import StopSignal
from sdjax.training.run import Run, build_run, describe_run, initial_state
from sdjax.training.step import TrainState

# Steps that the devices may be behind: enough that they never wait for the host, few
# enough that the bar moves with every step and Ctrl-C is answered within a few.
_IN_FLIGHT = 2


def train(
    config: ConfigDict,
    workdir: Path,
    devices: Sequence[jax.Device] | None = None,
    from_step: int | None = None,
) -> None:
    """Train to the end of the config, or until asked to stop; resume if begun.

    Args:
        config: as loaded; open keys of the model are filled in.
        workdir: for checkpoints and logs.
        devices: of this process; None for all of them.
        from_step: resume from this checkpoint, instead of the newest one.

    Raises:
        InputError: the config, the corpus or an earlier run does not fit, or another
            process trains in the same folder.
        SystemExit: stopped by a signal, after a checkpoint: 128 + its number.
        OSError: names what could not be written.
    """
    run = build_run(config, workdir, devices)
    described = describe_run(run)  # raises before the folder of the run is made
    where = placement(
        run.training.model,
        run.config.master_params,
        run.config.all_reduce_dtype,
        run.devices,
    )
    with ExitStack() as stack:
        multihost.from_first(lambda: take_folder(workdir, stack))
        checkpoints = stack.enter_context(
            multihost.checkpoints(
                workdir / "checkpoints",
                run.config.keep_last_checkpoints,
                run.config.keep_every_steps,
            )
        )
        stop = stack.enter_context(StopSignal())
        begun = checkpoints.latest is not None
        if not begun:  # before it takes any memory
            multihost.say(described)
        state, carry, progress = start_or_resume(run, where, checkpoints, from_step)
        if begun:  # what was resumed from is the first line
            multihost.say(described)
        stopped = take_steps(run, where, checkpoints, stop, state, carry, progress)
        checkpoints.wait()
    total = run.training.total_steps
    if stopped and progress.step < total:
        multihost.say(
            f"stopped at step {progress.step} of {total}, saved:"
            " the same command resumes there"
        )
        sys.exit(128 + stopped)
    multihost.say(
        f"trained {progress.step} steps; checkpoints are in {workdir / 'checkpoints'}"
    )


def start_or_resume(
    run: Run,
    where: Placement,
    checkpoints: Checkpoints,
    from_step: int | None = None,
) -> tuple[TrainState, RecurrentState, Progress]:
    """Return where training begins: the newest whole checkpoint, or step 0.

    Raises:
        InputError: the workdir holds a run of something else, or of more steps than are
            asked for, or none of its checkpoints is whole; the checkpoint to start from
            is of another model.
    """
    training, config, progress = run.training, run.config, Progress()
    with jax.default_device(where.made_on):
        state = initial_state(config, training)
    rows = len(multihost.own_rows(config.global_batch_size))
    carry = zero_carry(training.model, rows, len(run.devices))
    wanted = run.meta(progress)
    resumed = checkpoints.resume(
        state, carry, lambda meta: check_same_run(meta, wanted, run.workdir), from_step
    )
    if resumed is not None:
        meta, state, carry, damaged = resumed
        was = meta.model["precision"]
        same = was == config.precision
        scale = resumed_loss_scale(state.loss_scale, training.loss_scale, same)
        state, progress = state.replace(loss_scale=scale), Progress(**meta.progress)
        notes = "" if same else f", {was} until there"
        products = meta.config.get("matmul_precision", "tf32")
        if products != config.matmul_precision:
            notes += f", matmul_precision {products} until there"
        if damaged:
            notes += f"; {'; '.join(damaged)}; renamed to <step>.damaged"
        if meta.step > training.total_steps:
            raise InputError(
                f"{run.workdir} is at step {meta.step} already, past the"
                f" {training.total_steps} that config.train_steps or train_epochs ask"
                " for: give more of them to go on, or another --workdir to train anew"
            )
        multihost.say(f"resumed from step {meta.step} of {training.total_steps}{notes}")
    elif from_step is not None:
        raise InputError(
            f"--step {from_step}: {run.workdir} has no checkpoint; leave --step out to"
            " begin"
        )
    elif start := config.initial_checkpoint:
        state = state.replace(params=load_initial(Path(start), training.model))
        multihost.say(f"starts from the parameters of {start}")
    # Where the step leaves its outputs, so that it is compiled once.
    carry = spread(carry, run.devices)
    return where.place(state), carry, progress


def take_steps(
    run: Run,
    where: Placement,
    checkpoints: Checkpoints,
    stop: StopSignal,
    state: TrainState,
    carry: RecurrentState,
    progress: Progress,
) -> int:
    """Take the steps that are left, until the end or a request to stop.

    Returns:
        The number of the signal that asked to stop, or 0.

    Raises:
        InputError: updates overflow again and again, or parameters are not finite.
        OSError: a log or checkpoint could not be written.
    """
    config, total = run.config, run.training.total_steps
    evaluate = evaluator(
        run.training.model, run.valid, config.eval_batch_size, run.devices
    )
    ahead, stopping = steps_ahead(_IN_FLIGHT), 0
    requested = multihost.SharedStop(stop, ahead)
    steps = range(progress.step, total)

    def read(step: int) -> Batch:
        return split_batch(run.windows[step], len(run.devices))

    with (
        multihost.only_first(lambda: MetricsLog(run.workdir, progress.step)) as log,
        progress_bar(run, progress) as bar,
        Prefetch(read, steps) as batches,
    ):
        in_flight, clock = deque(), Clock(progress.chars)
        for step, batch in zip(steps, batches, strict=True):
            state, carry, metrics = where.train_step(state, carry, batch)
            in_flight.append(metrics)
            wait_for(in_flight, ahead, progress)
            # Read once: a signal may come between any two lines below.
            stopping = requested()
            done = step + 1
            last = done == total
            due = last or done % config.checkpoint_every_steps == 0
            logs = due or done % config.log_every_steps == 0
            wait_for(in_flight, 0 if logs or stopping else ahead, progress)
            progress.check_overflows(config.max_overflows)
            bar.update(progress.chars - bar.n)
            # Checkpoints from before the overflows are the ones to keep.
            save = due and (last or not progress.stuck)

            valid_bpc = None
            if logs or stopping:
                check_finite(state.params, progress)
            if logs:
                checkpoints.check()  # not only at the next save, hours from here
                record = progress.take_record(run.training.learning_rate)
                record["chars_per_second"] = clock.rate(progress.chars)
                bar.set_postfix(bpc=f"{record['train_bpc']:.3f}")
                if save:
                    valid_bpc = evaluate(state.params)
                    clock = Clock(progress.chars)
                if log:
                    log.write(record | {"valid_bpc": valid_bpc})
            if save or stopping:
                checkpoints.save(state, carry, run.meta(progress, valid_bpc))
            if stopping:
                break
    return stopping


def check_finite(params: dict, progress: Progress) -> None:
    """Give up on a run whose parameters are not finite, before they are saved.

    Raises:
        InputError: says at which step; on all processes, which have the same ones.
    """
    if not bool(_all_finite(params)):
        raise InputError(
            f"the parameters are not finite after step {progress.step}: training"
            " diverged and nothing of that is saved. Go on from the last checkpoint"
            " with a lower config.base_learning_rate or more config.warmup_steps"
        )


@jax.jit
def _all_finite(params: dict) -> jax.Array:
    return jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(params)]).all()


def wait_for(in_flight: deque, keep: int, progress: Progress) -> None:
    """Wait until at most `keep` steps are under way; add the metrics of the others."""
    while len(in_flight) > keep:
        progress.add(jax.device_get(in_flight.popleft()))


def take_folder(workdir: Path, stack: ExitStack) -> None:
    """Make the run's folder, prove that it can be written to, and lock it.

    Args:
        stack: holds the lock until it is closed.

    Raises:
        InputError: it cannot be written, or another process trains there.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        stack.enter_context(
            locked(
                workdir / ".lock",
                f"--workdir {workdir} is in use: another process trains there; wait for"
                " it, or give another folder",
            )
        )
    except OSError as error:
        raise InputError(
            f"--workdir {workdir} is not writable ({error.strerror}): give a folder"
            " that you may write to"
        ) from error


def progress_bar(run: Run, progress: Progress) -> tqdm:
    """Return a bar that counts characters, with rate and time left."""
    per_step = run.config.global_batch_size * run.config.window_size
    return tqdm(
        total=run.training.total_steps * per_step,
        initial=progress.chars,
        desc="train",
        unit="ch",
        unit_scale=True,
        smoothing=0.1,
        disable=not multihost.is_first(),
    )
