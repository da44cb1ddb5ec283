"""Train a byte-level language model on a corpus; the same command again resumes."""

from pathlib import Path

from sdjax.errors import InputError
from sdjax.ranges import COUNT, COUNT_OR_NONE, number
from sdjax.terminal import show_lines

EPILOG = """\
--config takes a Python file, which is run, or the name of a config that comes with
sdjax. Any of its keys is set with --config.KEY=VALUE, such as
--config.model.hidden_size=1024. Ctrl-C and SIGTERM save a checkpoint and stop.
"""


def add_arguments(parser) -> None:
    parser.epilog = EPILOG
    # What is left over sets keys of the config.
    parser.set_defaults(overrides=[])
    add = parser.add_argument
    add(
        "--config",
        required=True,
        metavar="FILE|NAME",
        help="such as my.py, quickstart; a file is a Python program and is run: give"
        " only one that you trust",
    )
    add("--workdir", type=Path, metavar="FOLDER", help="for checkpoints and logs")
    add(
        "--print-config",
        action="store_true",
        help="print every key with its value, and stop",
    )
    add(
        "--memory-on",
        "--memory_on",
        type=number(int, COUNT),
        metavar="N",
        help="say what memory N devices need for the config, and stop",
    )
    add(
        "--step",
        type=number(int, COUNT_OR_NONE),
        metavar="N",
        help="resume from this checkpoint; newer ones are renamed to <step>.newer",
    )
    processes = parser.add_argument_group(
        "several processes", "A cluster such as Slurm's tells the last three itself."
    )
    add = processes.add_argument
    add("--distributed", action="store_true", help="be one of several processes")
    add("--coordinator", metavar="HOST:PORT", help="address of the first process")
    add(
        "--num-processes",
        "--num_processes",
        type=number(int, COUNT),
        metavar="N",
        help="in all",
    )
    add(
        "--process-id",
        "--process_id",
        type=number(int, COUNT_OR_NONE),
        metavar="I",
        help="of this one, from 0",
    )


def run(arguments) -> None:
    from sdjax.training import peers
    from sdjax.training.config.load import load
    from sdjax.training.loop import train
    from sdjax.training.process import keep_freed_memory
    from sdjax.training.run import describe_memory

    keep_freed_memory()
    config = load(arguments.config, arguments.overrides)
    if arguments.print_config:
        return show_lines(str(config).rstrip())
    if arguments.memory_on is not None:
        return show_lines(describe_memory(config, arguments.memory_on))
    if arguments.workdir is None:
        raise InputError("give --workdir FOLDER, where checkpoints and logs go")
    explicit = arguments.coordinator, arguments.num_processes, arguments.process_id
    if arguments.distributed:
        peers.join(*explicit)
    elif explicit != (None, None, None):
        raise InputError("--coordinator and the like go together with --distributed")
    with peers.ending_together():
        train(config, arguments.workdir, from_step=arguments.step)
