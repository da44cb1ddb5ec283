"""Fit the classifier, find the unit, write the report."""

from pathlib import Path

from sdjax.errors import InputError

# Parts of the report that take the model as well as its features.
_NEED_CHECKPOINT = (
    "bits_per_character",
    "training_curve",
    "probe_points",
    "coloured_texts",
)


def add_arguments(parser) -> None:
    for split in ("train", "valid", "test"):
        parser.add_argument(
            f"--{split}",
            type=Path,
            required=True,
            metavar="FILE.npz",
        )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--workers", type=int, default=-1, help="-1: one per core")


def run(arguments) -> None:
    from sdjax import analysis, featurefile, page, probe, report
    from sdjax.checkpoint import load_model
    from sdjax.features import TextFeaturizer
    from sdjax.metrics import read_metrics

    paths = {"train": arguments.train, "valid": arguments.valid, "test": arguments.test}
    splits = {name: featurefile.load(path) for name, path in paths.items()}
    report.make_folder(arguments.out)  # before minutes of work
    result = probe.run_probe(*splits.values(), n_jobs=arguments.workers)

    checkpoint = Path(splits["test"].metadata.get("checkpoint", ""))
    given = {}
    try:
        loaded = load_model(checkpoint)
    except InputError as error:
        reason = f"the checkpoint of the features is not there ({error})"
        given["absent"] = dict.fromkeys(_NEED_CHECKPOINT, reason)
    else:
        featurizer = TextFeaturizer.from_loaded(loaded)
        top, run = result.top_unit, analysis.run_of(checkpoint)
        extremes = probe.extreme_examples(splits["test"], top.index, top.sign)
        given["traced"] = tuple(
            analysis.trace_examples(featurizer, splits["test"], rows, top.index)
            for rows in extremes
        )
        given["probe_points"] = analysis.probe_over_training(
            run, splits["train"], splits["test"], result.strength
        )
        given["records"] = read_metrics(run / "metrics.jsonl")
        given["bits_per_character"] = loaded.meta["valid_bpc"]
    written = report.write_report(arguments.out, result, splits, **given)
    for line in page.headline(result, given.get("bits_per_character")):
        print(line)
    print(f"report: {written}")
