"""The `sdjax` command: each subcommand is a few lines over library functions."""

import importlib
import sys

from sdjax import errors
from sdjax.arguments import ArgumentParser

# One module of sdjax.commands each. They import what they need when they run:
# `sdjax prepare` must not wait for jax.
COMMANDS = (
    "prepare",
    "corpus",
    "labelled",
    "evaluate",
    "probe",
    "figures",
    "generate",
    "classify",
    "finetune",
    "convert",
    "bench",
)


def main() -> None:
    sys.exit(errors.run(_run))


def _run() -> None:
    arguments = _parser().parse_args()
    arguments.run(arguments)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="sdjax", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"sdjax.commands.{name}")
        sub = commands.add_parser(name, help=module.__doc__, description=module.__doc__)
        sub.set_defaults(run=module.run)
        module.add_arguments(sub)
    return parser


if __name__ == "__main__":
    main()
