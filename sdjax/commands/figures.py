"""Draw figures of training runs; `compare` draws several in one figure."""

import sys
from pathlib import Path

from sdjax.errors import InputError
from sdjax.terminal import show


def add_arguments(parser) -> None:
    kinds = parser.add_subparsers(required=True, metavar="FIGURE")
    text = "bits per character of several runs over progress, characters and time"
    compare = kinds.add_parser("compare", help=text, description=text)
    compare.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    compare.add_argument(
        "--out", type=Path, default=Path("comparison.png"), metavar="FILE.png"
    )


def run(arguments) -> None:
    from sdjax.errors import naming
    from sdjax.report import comparison
    from sdjax.training.metrics import read_metrics

    if arguments.out.suffix != ".png":
        raise InputError(f"--out {arguments.out} must end in .png")
    runs = []
    for folder in arguments.runs:
        log = folder / "metrics.jsonl"
        if not log.is_file():
            raise InputError(
                f"{folder}: no metrics.jsonl; give the folder of a run (--workdir of "
                "sdjax train)"
            )
        runs.append(comparison.read_run(folder, read_metrics(log), _meta(folder)))
    with naming(arguments.out):
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        comparison.compare(runs, arguments.out)
    for line in comparison.table(runs):
        show(line)
    show(f"figure: {arguments.out}")


def _meta(folder: Path):
    """Return the metadata of the newest readable checkpoint; None if there is none."""
    from sdjax.checkpoints.load import checkpoint_steps, read_meta

    for step in checkpoint_steps(folder)[::-1]:
        try:
            return read_meta(step)
        except InputError as error:
            show(f"warning: {error}", file=sys.stderr)
    return None
