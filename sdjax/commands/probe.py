"""Fit a linear classifier on features, find the sentiment unit, write a report."""

from pathlib import Path

from sdjax.commands.overlap import add_drop_overlap, without_overlap
from sdjax.errors import InputError

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
    add_drop_overlap(parser)
    parser.add_argument("--workers", type=int, default=-1, help="-1: one per core")
    parser.add_argument(
        "--draws",
        type=int,
        default=5,
        help="random draws per size for accuracy by number of labels; 0: skip it",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws")
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

    if arguments.draws < 0:
        raise InputError(f"--draws {arguments.draws} must be at least 0")
    if arguments.workers == 0:
        raise InputError("--workers 0: give a number, or -1 for one per core")
    paths = {"train": arguments.train, "valid": arguments.valid, "test": arguments.test}
    splits = {name: feature_file.load(path) for name, path in paths.items()}
    splits = without_overlap(splits, arguments.drop_overlap)
    targets, data = l1_probe.prepare_splits(*splits.values())
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
    parts |= _model_parts(splits, result, parts["absent"], over_training)
    written = write_report(arguments.out, result, splits, **parts)
    words = parts.get("words")
    for line in page.headline(result, parts.get("bits_per_character"), words):
        print(line)
    print(f"report: {written}")


def _model_parts(splits, result, absent: dict, over_training: bool) -> dict:
    """Make the parts that need the checkpoint.

    Without the checkpoint there are none, and `absent` gets the reason.
    """
    from sdjax.checkpoints.load import load_model
    from sdjax.probe import l1_probe
    from sdjax.report import from_model
    from sdjax.training.metrics import read_metrics

    checkpoint = Path(splits["test"].metadata.get("checkpoint", ""))
    try:
        loaded = load_model(checkpoint)
    except InputError as error:
        reason = f"the checkpoint of the features cannot be loaded ({error})"
        absent.update(dict.fromkeys(_NEED_CHECKPOINT, reason))
        return {}
    top, run = result.top_unit, from_model.run_of(checkpoint)
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
