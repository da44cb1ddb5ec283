"""Train a byte-level language model on a corpus.

    python train.py --config configs/quickstart.py --workdir runs/quickstart

Running the same command again resumes from the last checkpoint.
"""

import sys
from collections import deque
from pathlib import Path
from typing import NamedTuple

import jax
import optax
from absl import app, flags
from flax.training.dynamic_scale import DynamicScale
from ml_collections import ConfigDict, config_flags
from tqdm import tqdm

from configs.checks import check, check_codec, rows_of_each
from sdjax import errors
from sdjax.checkpoints.load import load_initial, model_config
from sdjax.checkpoints.manager import check_same_run
from sdjax.data.corpus import Corpus
from sdjax.data.prefetch import Prefetch
from sdjax.data.text import VOCABULARY_SIZES
from sdjax.data.windows import Batch, Windows
from sdjax.errors import InputError
from sdjax.model.devices import spread, zero_carry
from sdjax.model.language_model import LanguageModel, init_params
from sdjax.model.precision import (
    loss_scale,
    resumed_loss_scale,
    set_matmul_precision,
)
from sdjax.training import multihost
from sdjax.training.evaluate import evaluator
from sdjax.training.metrics import Clock, MetricsLog, Progress
from sdjax.training.optimizer import optimizer, scaled_learning_rate, schedule
from sdjax.training.parallel import placement, split_batch
from sdjax.training.process import StopSignal, keep_freed_memory
from sdjax.training.step import TrainState, create_train_state
from sdjax.training.summary import memory_summary, summary

# Steps that the devices may be behind: enough that they never wait for the host, few
# enough that the bar moves with every step and Ctrl-C is answered within a few.
_IN_FLIGHT = 2

_CONFIG = config_flags.DEFINE_config_file("config", None, "The config file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of checkpoints and logs.")
_MEMORY_ON = flags.DEFINE_integer(
    "memory_on", None, "Only say what memory N devices need for the config.", 1
)
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Be one of several processes.")
# Which a cluster such as Slurm's tells; elsewhere they are given.
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of the first one.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many there are.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which this one is, from 0.")


def build_model(config: ConfigDict) -> LanguageModel:
    """Return the model that a config describes."""
    return LanguageModel(
        cell=config.model.cell,
        hidden_size=config.model.hidden_size,
        embedding_size=config.model.embedding_size,
        use_weight_norm=config.model.use_weight_norm,
        precision=config.precision,
        memory_span=config.model.memory_span,
        num_layers=config.model.num_layers,
        vocabulary_size=config.model.vocabulary_size or VOCABULARY_SIZES[config.codec],
    )


class Training(NamedTuple):
    """A config turned into the parts of a training run."""

    model: LanguageModel
    learning_rate: optax.Schedule  # by updates applied
    tx: optax.GradientTransformation
    loss_scale: DynamicScale  # the first one
    total_steps: int


def build_training(config: ConfigDict, windows_per_epoch: int) -> Training:
    """Return model, schedule and optimizer of a config, nothing allocated."""
    by_epochs = round(config.train_epochs * windows_per_epoch)
    total_steps = config.train_steps or max(1, by_epochs)
    decay_steps = config.decay_steps or total_steps
    if decay_steps <= config.warmup_steps:
        raise InputError(
            f"config.warmup_steps is {config.warmup_steps}: it must be below the"
            f" {decay_steps} steps until the learning rate is 0"
        )
    peak = scaled_learning_rate(
        config.base_learning_rate, config.global_batch_size, config.max_learning_rate
    )
    learning_rate = schedule(peak, config.warmup_steps, decay_steps)
    tx = optimizer(
        learning_rate,
        clip_norm=config.clip_norm,
        b1=config.adam_b1,
        b2=config.adam_b2,
        eps=config.adam_eps,
    )
    scale = loss_scale(config.precision, **config.loss_scale)
    return Training(build_model(config), learning_rate, tx, scale, total_steps)


def initial_state(config: ConfigDict, training: Training) -> TrainState:
    """Return the train state before the first step."""
    return create_train_state(
        training.model,
        training.tx,
        training.loss_scale,
        init_params(training.model, jax.random.key(config.seed)),
    )


def train(config: ConfigDict, workdir: Path) -> None:
    """Train to the end of the config, or until asked to stop; resume if begun."""
    check(config)
    set_matmul_precision(config.matmul_precision)
    corpus = Corpus.open(config.corpus)
    check_codec(config, corpus.normalisation.codec)
    devices = jax.local_device_count()
    in_all = devices * jax.process_count()
    rows_of_each(config, in_all)
    own_rows = multihost.own_rows(config.global_batch_size)
    windows = Windows(
        corpus,
        "train",
        batch_size=config.global_batch_size,
        window_size=config.window_size,
        seed=config.seed,
        rows=own_rows,
    )
    training = build_training(config, len(windows))
    evaluate = evaluator(
        training.model, valid_windows(config, corpus), config.eval_batch_size
    )
    identity = {
        "model": model_config(training.model),
        "corpus": {"fingerprint": corpus.fingerprint},
        "stream": {k: config[k] for k in ("global_batch_size", "window_size", "seed")},
    }
    about = summary(
        training.model,
        windows,
        batch_size=config.global_batch_size,
        window_size=config.window_size,
        devices=in_all,
        total_steps=training.total_steps,
        learning_rate=float(training.learning_rate(config.warmup_steps)),
        master_params=config.master_params,
        all_reduce_dtype=config.all_reduce_dtype,
    )
    multihost.say(about)
    multihost.from_first(lambda: make_folder(workdir))

    made_on, place, train_step = placement(
        training.model, config.master_params, config.all_reduce_dtype
    )
    with jax.default_device(made_on):
        state = initial_state(config, training)
    carry = zero_carry(training.model, len(own_rows), devices)
    with (
        multihost.checkpoints(
            workdir / "checkpoints",
            config.keep_last_checkpoints,
            config.keep_every_steps,
        ) as checkpoints,
        StopSignal() as stop,
    ):
        progress = Progress()
        if (latest := checkpoints.latest) is not None:
            meta = checkpoints.meta(latest)
            check_same_run(meta, identity, workdir)
            state, carry = checkpoints.restore(latest, state, carry)
            same = meta["model"]["precision"] == config.precision
            scale = resumed_loss_scale(state.loss_scale, training.loss_scale, same)
            state = state.replace(loss_scale=scale)
            progress = Progress(**meta["progress"])
            was = "" if same else f", {meta['model']['precision']} until there"
            products = meta["config"].get("matmul_precision", "tf32")
            if products != config.matmul_precision:
                was += f", matmul_precision {products} until there"
            multihost.say(f"resumed from step {latest} of {training.total_steps}{was}")
        elif start := config.initial_checkpoint:
            state = state.replace(params=load_initial(Path(start), training.model))
            multihost.say(f"starts from the parameters of {start}")

        # Where the step leaves its outputs, so that it is compiled once.
        state, carry = place(state), spread(carry, jax.local_devices()[:devices])

        def read(step: int) -> Batch:
            return split_batch(windows[step], devices)

        steps = range(progress.step, training.total_steps)
        requested, stopping = multihost.SharedStop(stop, _IN_FLIGHT), 0
        with (
            multihost.only_first(lambda: MetricsLog(workdir, progress.step)) as log,
            progress_bar(config, training, progress) as bar,
            Prefetch(read, steps) as batches,
        ):
            in_flight, clock = deque(), Clock(progress.chars)
            for step, batch in zip(steps, batches, strict=True):
                state, carry, metrics = train_step(state, carry, batch)
                in_flight.append(metrics)
                # Read once: a signal may come between any two lines below.
                stopping = requested()
                done = step + 1
                last = done == training.total_steps
                due = last or done % config.checkpoint_every_steps == 0
                logs = due or done % config.log_every_steps == 0
                wait_for(in_flight, 0 if logs or stopping else _IN_FLIGHT, progress)
                progress.check_overflows(config.max_overflows)
                bar.update(progress.chars - bar.n)
                # Checkpoints from before the overflows are the ones to keep.
                save = due and (last or not progress.stuck)

                valid_bpc = None
                if logs:
                    checkpoints.check()  # not only at the next save, hours from here
                    record = progress.take_record(training.learning_rate)
                    record["chars_per_second"] = clock.rate(progress.chars)
                    bar.set_postfix(bpc=f"{record['train_bpc']:.3f}")
                    if save:
                        valid_bpc = evaluate(state.params)
                        clock = Clock(progress.chars)
                    if log:
                        log.write(record | {"valid_bpc": valid_bpc})
                if save or stopping:
                    meta = identity | {
                        "step": done,
                        "progress": progress.as_json(),
                        "config": config.to_dict(),
                        "valid_bpc": valid_bpc,
                        "normalisation": corpus.normalisation.as_json(),
                    }
                    checkpoints.save(state, carry, meta, valid_bpc)
                if stopping:
                    break
        checkpoints.wait()
    if stopping and progress.step < training.total_steps:
        multihost.say(
            f"stopped at step {progress.step} of {training.total_steps}, saved:"
            " the same command goes on from there"
        )
        sys.exit(128 + stopping)
    multihost.say(
        f"trained {progress.step} steps; checkpoints are in {workdir / 'checkpoints'}"
    )


def wait_for(in_flight: deque, keep: int, progress: Progress) -> None:
    """Wait until at most `keep` steps are under way; add the metrics of the others."""
    while len(in_flight) > keep:
        progress.add(jax.device_get(in_flight.popleft()))


def valid_windows(config: ConfigDict, corpus: Corpus) -> Windows:
    """Return the windows of valid, in the order of the manifest."""
    return Windows(
        corpus,
        "valid",
        batch_size=config.eval_batch_size,
        window_size=config.window_size,
        shuffle=False,
    )


def memory_on(config: ConfigDict, devices: int) -> str:
    """Say what memory a step takes on so many devices; none of them is needed."""
    check(config)
    return memory_summary(
        build_model(config),
        rows=rows_of_each(config, devices),
        window_size=config.window_size,
        all_reduce_dtype=config.all_reduce_dtype,
    )


def make_folder(workdir: Path) -> None:
    """Make the run's folder and prove that it can be written to."""
    probe = workdir / ".writable"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"--workdir {workdir} is not writable ({error.strerror}): give a folder"
            " that you may write to"
        ) from error


def progress_bar(config: ConfigDict, training: Training, progress: Progress) -> tqdm:
    """Return a bar that counts characters, with rate and time left."""
    per_step = config.global_batch_size * config.window_size
    return tqdm(
        total=training.total_steps * per_step,
        initial=progress.chars,
        desc="train",
        unit="ch",
        unit_scale=True,
        smoothing=0.1,
        disable=not multihost.is_first(),
    )


def parse_flags(argv: list[str]) -> tuple[ConfigDict, Path | None]:
    """Return the config, with what the command line changes in it, and the workdir.

    Raises:
        InputError: a flag, a config key or the type of its value is wrong.
    """
    try:
        app.define_help_flags()
        rest = flags.FLAGS(argv)[1:]
        config, workdir = _CONFIG.value, _WORKDIR.value
        if config is not None:
            config.keys()  # a file that failed to load raises only when it is used
    except AttributeError as error:
        raise InputError(
            f"unknown config key: {_one_line(error)}; configs/default.py has them all"
        ) from error
    except (flags.Error, OSError) as error:
        raise InputError(_one_line(error)) from error
    if rest:
        raise InputError(f"unexpected argument {rest[0]!r}: values follow --flags")
    if config is None or workdir is None and _MEMORY_ON.value is None:
        raise InputError("give both --config FILE and --workdir FOLDER")
    return config, workdir and Path(workdir)


def _one_line(error: Exception) -> str:
    """Join a message of several lines to one."""
    return " ".join(str(error).split())


def main() -> None:
    keep_freed_memory()
    config, workdir = parse_flags(sys.argv)
    if _MEMORY_ON.value:  # there may be no workdir
        return print(memory_on(config, _MEMORY_ON.value))
    explicit = _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value
    if _DISTRIBUTED.value:
        multihost.join(*explicit)
    elif explicit != (None, None, None):
        raise InputError("--coordinator and the like go together with --distributed")
    train(config, workdir)


if __name__ == "__main__":
    sys.exit(errors.run(main))
