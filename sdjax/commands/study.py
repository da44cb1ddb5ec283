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
import tempfile
from pathlib import Path

from sdjax.arguments import three
from sdjax.commands.reading import (
    add_reading,
    open_labelled,
    open_texts,
    refuse_reading,
)
from sdjax.errors import InputError
from sdjax.ranges import COUNT, SEED, add_number, number
from sdjax.terminal import show

SPLITS = ("train", "valid", "test")
_BAD = 0.01  # of the rows that are read; more of them are an error


def add_arguments(parser) -> None:
    # What is left over sets keys of the config.
    parser.set_defaults(overrides=[])
    kinds = parser.add_subparsers(required=True, metavar="STUDY")
    _add_sizes(kinds)
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


def _add_sizes(kinds) -> None:
    text = "Bits per character and transfer accuracy of models of several sizes"
    sub = _subcommand(kinds, "sizes", _sizes, text, [0])
    add = sub.add_argument
    add("--corpus", type=Path, required=True, metavar="DIR")
    add(
        "--sizes",
        type=number(int, COUNT),
        nargs="+",
        required=True,
        metavar="UNITS",
        help="a run each for every seed",
    )
    read = "that each run reads; with --equal compute, that the smallest one reads"
    add_number(sub, "--characters", int, COUNT, read, required=True, metavar="N")
    add(
        "--equal",
        default="characters",
        choices=("characters", "compute"),
        help="what all sizes have the same of",
    )
    for split in SPLITS:
        add(
            f"--{split}",
            metavar="FILE",
            help="labelled texts of the probe, all that sdjax prepare reads; default:"
            " those of sdjax labelled",
        )
    add_reading(sub)


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


def _config(arguments, own: tuple[str, ...]):
    """Return the config of the runs.

    Args:
        own: how the keys begin that the study sets itself.

    Raises:
        InputError: one of them is given.
    """
    from sdjax.training.config.load import load

    for override in arguments.overrides:
        key = override.removeprefix("--config.").partition("=")[0]
        if key.startswith(own):
            raise InputError(f"{override}: the study sets config.{key}; leave it out")
    return load(arguments.config, arguments.overrides)


def _sizes(arguments) -> None:
    from sdjax.data.corpus import Corpus
    from sdjax.study import sizes, sizes_page, stages

    share = stages.Share.parse(arguments.only)
    corpus = Corpus.open(arguments.corpus)
    config = _config(arguments, ("corpus", "seed", "model.hidden_size", "train_"))
    smallest = min(arguments.sizes)
    named = corpus.folder.resolve().name
    settings = {
        "study": "sizes",
        "corpus": {"name": named, "fingerprint": corpus.fingerprint},
        "characters": arguments.characters,
        "equal": arguments.equal,
        "config": config.to_dict() | {"corpus": named},
    }
    if arguments.equal == "compute":
        settings["smallest"] = smallest  # the others' characters follow from it
    texts, described = _labelled(arguments)
    stages.begin(arguments.out, settings | {"texts": described})
    plan = sizes.Plan(
        arguments.out,
        config,
        corpus,
        arguments.characters,
        arguments.equal,
        smallest,
        texts,
    )
    found = sizes.take_all(plan, arguments.sizes, arguments.seeds, share)
    if _missing({size.name: result for size, result in found.items()}):
        return
    read = arguments.characters, arguments.equal
    about = sizes_page.About(named, _labelled_name(described), *read)
    _write(arguments.out, sizes_page.page(found, about))


def _labelled_name(described: dict) -> str:
    """Name the labelled texts in a sentence, by their training split."""
    return described.get("name") or described["train"]["name"]


def _labelled(arguments):
    """Return the labelled texts of each split, and what they are."""
    from sdjax.prepare import synthetic

    paths = {split: getattr(arguments, split) for split in SPLITS}
    given = [split for split, path in paths.items() if path]
    if len(given) in (1, 2):
        raise InputError(
            f"--{given[0]} goes with the other two of --train, --valid and --test"
        )
    if given:
        return _from_files(arguments, paths)
    refuse_reading(arguments, "built-in texts are not read from a file")
    with tempfile.TemporaryDirectory() as folder:
        paths = synthetic.write_labelled(folder)
        arguments.label_key = "label"
        texts, _ = _from_files(arguments, paths)
    return texts, {"name": "synthetic labelled"}


def _from_files(arguments, paths: dict):
    from sdjax.data.read_report import ReadReport
    from sdjax.study.sizes import Labelled

    if not arguments.label_key:
        raise InputError("--label-key is needed with --train: name the label's column")
    texts, described = {}, {}
    for split, path in paths.items():
        report = ReadReport()
        opened = open_labelled(arguments, str(path))
        examples = list(opened.examples(report))
        _check(report)
        described[split] = opened.describe()
        of_file = {"label_keys": list(opened.label_keys), "classes": opened.classes}
        texts[split] = Labelled(examples, {"input": str(path)} | of_file)
    return texts, described


def _gap(arguments) -> None:
    from sdjax.data.text import Normalisation
    from sdjax.study import gap, gap_page, stages
    from sdjax.training.config.defaults import MODEL

    share = stages.Share.parse(arguments.only)
    examples, source, report = _texts(arguments)
    config = _config(arguments, ("corpus", "seed", "carry", "train_"))
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
    _check(report)
    plan = gap.Plan(arguments.out, config, arguments.shards, normalisation, source)
    found = gap.take_all(plan, texts, arguments.seeds, share)
    if _missing({arm.name: result for arm, result in found.items()}):
        return
    units = config.model.hidden_size or MODEL["hidden_size"]
    made = gap_page.page(found, source["name"], units, arguments.characters)
    _write(arguments.out, made)


def _write(folder: Path, made) -> None:
    from sdjax.study import page

    written = page.write(folder, made)
    show(made.verdict)
    show(f"page: {written}")


def _texts(arguments):
    """Return the texts of a source, one at a time, what it is, and what is counted."""
    from sdjax.data.read_report import ReadReport
    from sdjax.data.sources import counted
    from sdjax.prepare import synthetic
    from sdjax.ranges import LARGEST_COUNT

    report = ReadReport()
    if arguments.source == ["synthetic"]:
        refuse_reading(arguments, "synthetic reviews are not read from a file")
        reviews = synthetic.reviews(LARGEST_COUNT)
        return counted(reviews, LARGEST_COUNT, report), {"name": "synthetic"}, report
    if arguments.label_key:
        raise InputError(
            f"--label-key {arguments.label_key}: this study reads no labels; leave it"
            " out"
        )
    opened = open_texts(arguments, arguments.source)
    return opened.examples(report), opened.describe(), report


def _check(report) -> None:
    """Say which rows could not be used; refuse too many of them."""
    if report.skipped:
        show(report.summary(), file=sys.stderr)
    report.check(_BAD)


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
