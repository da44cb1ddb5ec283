"""Train a classifier and the language model under it on labelled texts."""

import sys
from dataclasses import replace
from pathlib import Path

from sdjax.arguments import add_normalise
from sdjax.commands.overlap import add_drop_overlap, without_overlap
from sdjax.commands.reading import add_reading, open_texts
from sdjax.data.text import CLEANINGS


def add_arguments(parser) -> None:
    parser.add_argument(
        "checkpoint", type=Path, help="a run's folder or one checkpoint"
    )
    for split in ("train", "valid", "test"):
        parser.add_argument(
            f"--{split}",
            required=True,
            metavar="FILE",
            help="all that sdjax prepare reads",
        )
    add_reading(parser, label_required=True)
    add_drop_overlap(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument(
        "--patience", type=int, default=2, help="epochs without a better score on valid"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="texts per update")
    parser.add_argument(
        "--max-bytes",
        type=int,
        default=512,
        help="last bytes of each text that have a gradient; all are read",
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the head's")
    parser.add_argument(
        "--body-ratio", type=float, default=0.3, help="the model's rate by the head's"
    )
    parser.add_argument(
        "--lm-weight", type=float, default=0.1, help="of the language model's loss"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order of texts")
    add_normalise(parser, CLEANINGS)
    parser.add_argument("--precision", help="compute in fp32, bf16 or fp16")
    parser.add_argument("--max-bad-fraction", type=float, default=0.01)


def run(arguments) -> None:
    from sdjax.checkpoints.load import load_model
    from sdjax.finetune import folder, loop
    from sdjax.training.process import StopSignal

    settings = loop.Settings(
        epochs=arguments.epochs,
        patience=arguments.patience,
        batch_size=arguments.batch_size,
        max_bytes=arguments.max_bytes,
        learning_rate=arguments.learning_rate,
        body_ratio=arguments.body_ratio,
        lm_weight=arguments.lm_weight,
        seed=arguments.seed,
    )
    loaded = load_model(arguments.checkpoint, arguments.precision)
    cleaned = loaded.meta.normalisation.cleaned_by(arguments.normalise)
    loaded = loaded._replace(meta=replace(loaded.meta, normalisation=cleaned))
    inputs = {
        split: open_texts(arguments, getattr(arguments, split))
        for split in ("train", "valid", "test")
    }
    sets, reports = folder.read_splits(inputs, normalisation=cleaned.as_json())
    for name, report in reports.items():
        print(f"{name}: {report.summary()}", file=sys.stderr)
        report.check(arguments.max_bad_fraction)
    sets = without_overlap(sets, arguments.drop_overlap)
    targets, splits = folder.as_labelled(sets)
    with (
        folder.Folder(arguments.out, loaded, targets, settings) as out,
        StopSignal() as stop,
    ):
        best = loop.finetune(
            loaded,
            targets,
            splits["train"],
            splits["valid"],
            settings,
            keep=out.keep,
            log=lambda record: print(folder.line(record, targets), flush=True),
            stopping=lambda: bool(stop.requested),
        )
    if stop.requested:
        print(f"stopped; {arguments.out} has epoch {best.epoch}, the best on valid")
        sys.exit(128 + stop.requested)
    print(out.finish(best, splits))
