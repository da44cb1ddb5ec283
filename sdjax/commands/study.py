"""Train many small models that together answer one question, and draw the answer.

Every stage of every run that is done is skipped, so the same command goes on after an
interruption. --only gives this process a share of the runs: of a machine with several
cores, or of several machines with one folder. Small models do not gain from a second
core, so start one process for each, on a core of its own:

    taskset -c 0 sdjax study valid-gap synthetic --out studies/gap --only 1/2 &
    taskset -c 1 sdjax study valid-gap synthetic --out studies/gap --only 2/2 & wait
    sdjax study valid-gap synthetic --out studies/gap

Any key of --config can be set with --config.KEY=VALUE, as in sdjax train.
"""

import sys
from pathlib import Path

from sdjax.arguments import three
from sdjax.commands.reading import add_reading, open_texts, refuse_reading
from sdjax.ranges import COUNT, SEED, add_number, number
from sdjax.terminal import show


def add_arguments(parser) -> None:
    # What is left over sets keys of the config.
    parser.set_defaults(overrides=[])
    kinds = parser.add_subparsers(required=True, metavar="STUDY")
    _add_gap(kinds)


def _subcommand(kinds, name: str, study, text: str, seeds: list[int]):
    sub = kinds.add_parser(name, help=text, description=f"{text}.")
    sub.set_defaults(study=study)
    add = sub.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="of the study")
    add(
        "--config",
        default="study",
        metavar="FILE|NAME",
        help="of the runs, as in sdjax train; default: study",
    )
    add(
        "--seeds",
        type=number(int, SEED),
        nargs="+",
        default=seeds,
        metavar="N",
        help=f"a run each; default: {' '.join(map(str, seeds))}",
    )
    add(
        "--only",
        default="1/1",
        metavar="I/N",
        help="take the I-th of N shares of the runs",
    )
    return sub


def _add_gap(kinds) -> None:
    text = "Why validation loss lies below training loss: split, duplicates, state"
    sub = _subcommand(kinds, "valid-gap", _gap, text, [0, 1])
    sub.add_argument(
        "source",
        nargs="+",
        help="all that sdjax prepare reads, or synthetic; read up to --characters",
    )
    add_reading(sub)
    sub.add_argument("--strip-tags", action="store_true", help="remove HTML tags")
    sub.add_argument(
        "--shards", type=three, default=(40, 8, 1), help="of train/valid/test"
    )
    of_train = "bytes of text that each run trains on, once"
    add_number(
        sub, "--characters", int, COUNT, of_train, default=2_000_000, metavar="N"
    )


def run(arguments) -> None:
    from sdjax.training.process import keep_freed_memory

    keep_freed_memory()
    arguments.study(arguments)


def _gap(arguments) -> None:
    from sdjax.data.text import Normalisation
    from sdjax.study import gap, stages
    from sdjax.training.config.load import load

    share = stages.Share.parse(arguments.only)
    examples, source = _texts(arguments)
    config = load(arguments.config, arguments.overrides)
    normalisation = Normalisation(strip_tags=arguments.strip_tags)
    settings = {
        "study": "valid-gap",
        "source": source,
        "characters": arguments.characters,
        "shards": list(arguments.shards),
        "normalisation": normalisation.as_json(),
        "config": config.to_dict(),
    }
    stages.begin(arguments.out, settings)
    texts = gap.first_texts(examples, arguments.characters, arguments.shards)
    plan = gap.Plan(arguments.out, config, arguments.shards, normalisation, source)
    found = gap.take_all(plan, texts, arguments.seeds, share)
    _missing({arm.name: result for arm, result in found.items()})


def _texts(arguments):
    """Return the texts of a source, one at a time, and what it is."""
    from sdjax.data.read_report import ReadReport
    from sdjax.prepare import synthetic
    from sdjax.ranges import LARGEST_COUNT

    if arguments.source == ["synthetic"]:
        refuse_reading(arguments, "synthetic reviews are not read from a file")
        return synthetic.reviews(LARGEST_COUNT), {"name": "synthetic"}
    opened = open_texts(arguments, arguments.source)
    return opened.examples(ReadReport()), opened.describe()


def _missing(results: dict) -> bool:
    """Say which runs are still to come; return whether there are any."""
    missing = [name for name, result in results.items() if result is None]
    if missing:
        shown = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        show(
            f"{len(results) - len(missing)} of {len(results)} runs are whole; to come:"
            f" {shown}. The same command without --only takes the rest and writes the"
            " page",
            file=sys.stderr,
        )
    return bool(missing)
