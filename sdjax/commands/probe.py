"""Fit a linear classifier on features, find the sentiment unit, write a report."""

import sys
from pathlib import Path

from sdjax.commands.overlap import add_drop_overlap, without_overlap
from sdjax.errors import InputError
from sdjax.portable import without_folders
from sdjax.ranges import COUNT_OR_NONE, SEED, Range, add_number
from sdjax.terminal import show

# Parts of the report that need the model, not only its features.
_NEED_CHECKPOINT = (
    "bits_per_character",
    "training_curve",
    "probe_points",
    "coloured_texts",
)
_NO_TEXTS = "the features files have no texts"


def add_arguments(parser) -> None:
    for split in ("train", "valid", "test"):
        parser.add_argument(
            f"--{split}",
            type=Path,
            required=True,
            metavar="FILE.npz",
        )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--checkpoint", type=Path, help="if it is not where the features say"
    )
    add_drop_overlap(parser)
    processes = "processes; -1: one per core"
    add_number(parser, "--workers", int, Range(-1, 4096), processes, default=-1)
    draws = "random draws per size for accuracy by number of labels; 0: skip it"
    add_number(parser, "--draws", int, COUNT_OR_NONE, draws, default=5)
    add_number(parser, "--seed", int, SEED, "seed of the draws", default=0)
    parser.add_argument(
        "--no-bag-of-words", action="store_true", help="skip the bag-of-words baseline"
    )
    parser.add_argument(
        "--one-checkpoint",
        action="store_true",
        help="do not probe the other checkpoints of the run, which would featurize"
        " train and test once more for each",
    )


def run(arguments) -> None:
    from sdjax.features import file as feature_file
    from sdjax.probe import bag_of_words, l1_probe, label_efficiency
    from sdjax.report import page
    from sdjax.report.write import make_folder, write_report

    if arguments.workers == 0:
        raise InputError("--workers 0: give a number, or -1 for one per core")
    paths = {"train": arguments.train, "valid": arguments.valid, "test": arguments.test}
    splits = {name: feature_file.load(path) for name, path in paths.items()}
    splits = without_overlap(splits, arguments.drop_overlap)
    targets, data = l1_probe.prepare_splits(*splits.values())
    for column, ratio in l1_probe.outsized(splits["train"].features)[:3]:
        show(
            f"warning: {arguments.train}: column {column} varies {ratio:,.0f} times as"
            " much as the median column, so that an L1 penalty hardly weighs on it and"
            " it will be the top unit whatever it means; nothing is scaled: divide the"
            " column, or leave it out",
            file=sys.stderr,
        )
    make_folder(arguments.out)  # before minutes of work
    result = l1_probe.run_probe(*splits.values(), n_jobs=arguments.workers)
    parts = {"absent": {}}

    counts = None
    if not arguments.no_bag_of_words:
        if all(any(split.texts) for split in splits.values()):
            texts = {name: split.texts for name, split in splits.items()}
            counts = bag_of_words.count_words(texts)
            parts["words"] = bag_of_words.bag_of_words(targets, data, counts)
        else:
            parts["absent"]["bag_of_words"] = _NO_TEXTS
    if arguments.draws:
        parts["efficiency"] = label_efficiency.data_efficiency(
            targets,
            data,
            result.top_unit.index,
            result.accuracy["test"],
            counts=counts,
            draws=arguments.draws,
            seed=arguments.seed,
            n_jobs=arguments.workers,
        )
    over_training = not arguments.one_checkpoint
    absent, given = parts["absent"], arguments.checkpoint
    parts |= _model_parts(splits, result, absent, over_training, given)
    written = write_report(arguments.out, result, splits, **parts)
    words = parts.get("words")
    for line in page.headline(result, parts.get("bits_per_character"), words):
        show(line)
    show(f"report: {written}")


def _model_parts(
    splits, result, absent: dict, over_training: bool, checkpoint: Path | None
) -> dict:
    """Make the parts that need the checkpoint.

    Without the checkpoint there are none, and `absent` gets the reason.
    """
    from sdjax.checkpoints.find import find_checkpoint
    from sdjax.probe import l1_probe
    from sdjax.report import from_model
    from sdjax.training.metrics import read_metrics

    try:
        loaded = find_checkpoint(splits["test"].metadata, checkpoint)
    except InputError as error:
        show(f"warning: {error}", file=sys.stderr)
        why = without_folders(str(error), splits["test"].metadata)
        reason = f"the checkpoint of the features cannot be loaded ({why})"
        absent.update(dict.fromkeys(_NEED_CHECKPOINT, reason))
        return {}
    top, run = result.top_unit, from_model.run_of(loaded.path)
    points, traced = (), ((), ())
    if not over_training:
        absent["probe_points"] = "skipped (--one-checkpoint)"
    elif any(splits["train"].texts) and any(splits["test"].texts):
        points = from_model.probe_over_training(
            run, splits["train"], splits["test"], result.C
        )
    else:
        absent["probe_points"] = _NO_TEXTS
    if any(splits["test"].texts):
        featurizer = from_model.featurizer_like(splits["test"], loaded)
        extremes = l1_probe.extreme_examples(splits["test"], top.index, top.sign)
        traced = tuple(
            from_model.trace_examples(
                featurizer, splits["test"], rows, top.index, result.targets
            )
            for rows in extremes
        )
    else:
        absent["coloured_texts"] = _NO_TEXTS
    return {
        "traced": traced,
        "probe_points": points,
        "records": read_metrics(run / "metrics.jsonl"),
        "bits_per_character": loaded.meta.valid_bpc,
    }
