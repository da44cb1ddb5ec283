"""The `sdjax` command: each subcommand is a few lines over library functions."""

import argparse
import importlib
import sys
from collections.abc import Sequence

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
    "study",
    "generate",
    "classify",
    "finetune",
    "explore",
    "convert",
    "download",
    "bench",
)


def main() -> None:
    """Run `sdjax COMMAND ...` and exit with its status."""
    named = sys.argv[1] if len(sys.argv) > 1 else None
    if named in COMMANDS:
        parser = parser_of(named, f"sdjax {named}")
        sys.exit(errors.run(lambda: _run(parser, sys.argv[2:])))
    sys.exit(errors.run(lambda: _run(_overview(), sys.argv[1:])))


def script(name: str) -> None:
    """Run one command as a script of its own, such as `train.py`, and exit."""
    sys.exit(errors.run(lambda: run(name)))


def run(name: str) -> int | None:
    """Run one command with the arguments of this process; return its status."""
    return _run(parser_of(name, f"{name}.py"), sys.argv[1:])


def parse(
    parser: ArgumentParser, given: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    """Parse the arguments of a command; return what is left over, too."""
    try:
        # Texts and files may stand before flags, between them or after.
        return parser.parse_known_intermixed_args(given)
    except TypeError:  # a command that has commands of its own, which come first
        return parser.parse_known_args(given)


def _run(parser: ArgumentParser, given: Sequence[str]) -> int | None:
    arguments, rest = parse(parser, given)
    if "overrides" in arguments:
        arguments.overrides = rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return arguments.run(arguments)


def parser_of(name: str, prog: str) -> ArgumentParser:
    """Return the parser of one command.

    Args:
        name: of the command.
        prog: what messages call the program.
    """
    module = importlib.import_module(f"sdjax.commands.{name}")
    parser = ArgumentParser(prog=prog, description=module.__doc__)
    _add(parser, module)
    return parser


def _overview() -> ArgumentParser:
    """Return the parser that lists all commands, and refuses what is none of them."""
    parser = ArgumentParser(prog="sdjax", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"sdjax.commands.{name}")
        commands.add_parser(name, help=module.__doc__.splitlines()[0])
    return parser


def _add(parser: ArgumentParser, module) -> None:
    """Give a parser the arguments of a command; its help keeps its line breaks."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run=module.run)
    module.add_arguments(parser)


if __name__ == "__main__":
    main()
