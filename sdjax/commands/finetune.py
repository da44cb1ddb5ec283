"""Train a classifier and the language model under it on labelled texts."""

import sys
from dataclasses import replace
from pathlib import Path

from sdjax.arguments import add_normalise
from sdjax.commands.overlap import add_drop_overlap, without_overlap
from sdjax.commands.reading import add_reading, open_texts
from sdjax.data.text import CLEANINGS
from sdjax.finetune.settings import DEFAULTS, RANGES, Settings
from sdjax.ranges import COUNT, FRACTION, add_number
from sdjax.terminal import show, show_lines


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
    helps = {
        "epochs": "over the training texts at most",
        "patience": "epochs without a better score on valid",
        "batch_size": "texts per update",
        "max_bytes": "last bytes of each text that have a gradient; all are read",
        "learning_rate": "the head's",
        "body_ratio": "the model's rate by the head's",
        "lm_weight": "of the language model's loss",
        "seed": "of the order of texts",
    }
    for name, text in helps.items():
        default, allowed = DEFAULTS[name], RANGES[name]
        flag, kind = f"--{name.replace('_', '-')}", type(default)
        add_number(parser, flag, kind, allowed, text, default=default)
    saved = "updates after which all is saved, to go on from there"
    add_number(parser, "--save-every", int, COUNT, saved, default=200)
    add_normalise(parser, CLEANINGS)
    parser.add_argument("--precision", help="compute in fp32, bf16 or fp16")
    add_number(parser, "--max-bad-fraction", float, FRACTION, "of rows", default=0.01)


def run(arguments) -> None:
    from sdjax.checkpoints.load import load_model
    from sdjax.finetune import folder, loop
    from sdjax.finetune import splits as splits_of
    from sdjax.training.process import StopSignal

    given = {name: getattr(arguments, name) for name in DEFAULTS if name in arguments}
    settings = Settings(**given)
    loaded = load_model(arguments.checkpoint, arguments.precision)
    cleaned = loaded.meta.normalisation.cleaned_by(arguments.normalise)
    loaded = loaded._replace(meta=replace(loaded.meta, normalisation=cleaned))
    inputs = {
        split: open_texts(arguments, getattr(arguments, split))
        for split in ("train", "valid", "test")
    }
    sets, reports = splits_of.read_splits(inputs, normalisation=cleaned.as_json())
    for name, report in reports.items():
        show(f"{name}: {report.summary()}", file=sys.stderr)
        report.check(arguments.max_bad_fraction)
    sets = without_overlap(sets, arguments.drop_overlap)
    targets, splits = splits_of.as_labelled(sets)
    with (
        folder.Folder(arguments.out, loaded, targets, settings, splits) as out,
        StopSignal() as stop,
    ):
        best = loop.finetune(
            loaded,
            targets,
            splits["train"],
            splits["valid"],
            settings,
            store=out,
            save_every=arguments.save_every,
            log=lambda record: show(folder.line(record, targets), flush=True),
            stopping=lambda: bool(stop.requested),
        )
    if stop.requested:
        show(
            f"stopped; {arguments.out} has epoch {best.epoch}, the best on valid; the"
            " same command goes on"
        )
        sys.exit(128 + stop.requested)
    show_lines(out.finish(best, splits))
    out.done()
