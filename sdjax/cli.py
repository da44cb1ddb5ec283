"""The `sdjax` command: each subcommand is a few lines over library functions."""

import argparse
import importlib
import sys

from sdjax import errors
from sdjax.arguments import ArgumentParser

# One module of sdjax.commands each. They import what they need when they run:
# `sdjax prepare` must not wait for jax.
COMMANDS = (
    "prepare",
    "corpus",
    "verify",
    "labelled",
    "train",
    "evaluate",
    "featurize",
    "probe",
    "units",
    "figures",
    "generate",
    "classify",
    "finetune",
    "convert",
    "download",
    "bench",
)


def main() -> None:
    """Run `sdjax COMMAND ...` and exit with its status."""
    sys.exit(errors.run(lambda: _run(_parser())))


def script(name: str) -> None:
    """Run one command as a script of its own, such as `train.py`, and exit."""
    sys.exit(errors.run(lambda: run(name)))


def run(name: str) -> int | None:
    """Run one command with the arguments of this process; return its status."""
    module = importlib.import_module(f"sdjax.commands.{name}")
    parser = ArgumentParser(prog=f"{name}.py", description=module.__doc__)
    _add(parser, module)
    return _run(parser)


def _run(parser: ArgumentParser) -> int | None:
    arguments, rest = parser.parse_known_args()
    if "overrides" in arguments:
        arguments.overrides = rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return arguments.run(arguments)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="sdjax", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"sdjax.commands.{name}")
        summary = module.__doc__.splitlines()[0]
        _add(
            commands.add_parser(name, help=summary, description=module.__doc__), module
        )
    return parser


def _add(parser: ArgumentParser, module) -> None:
    """Give a parser the arguments of a command; its help keeps its line breaks."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run=module.run)
    module.add_arguments(parser)


if __name__ == "__main__":
    main()
