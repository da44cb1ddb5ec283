"""Measure speed against baselines, interleaved in one run."""

import argparse
import json
import os
import sys
from pathlib import Path

from sdjax.commands import bench_measures as measures
from sdjax.errors import InputError, naming
from sdjax.ranges import COUNT, POSITIVE, number
from sdjax.terminal import show, show_lines

_COUNT = number(int, COUNT)
ROOT = Path(__file__).parents[2]
_LAYOUT_HELP = "feature-major, batch-major, or platform for what suits it"


def add_arguments(parser) -> None:
    what = parser.add_subparsers(required=True, metavar="WHAT")

    sub = _subcommand(what, "train", measures.train, "the training step")
    sub.add_argument(
        "--shapes",
        type=_shape,
        nargs="+",
        default=[(1024, 32), (1024, 64), (2048, 64)],
        metavar="HxB",
        help="units x rows on the device, for example 4096x128",
    )
    sub.add_argument(
        "--window", type=_COUNT, default=128, help="bytes per row and step"
    )
    sub.add_argument("--layout", default="platform", help=_LAYOUT_HELP)
    sub.add_argument(
        "--ours-only", action="store_true", help="no baselines: how cost grows"
    )
    sub.add_argument(
        "--figure", type=Path, metavar="FILE.png", help="draw the roofline"
    )

    sub = _subcommand(
        what,
        "program",
        measures.program,
        "the step as compiled for a GPU",
        ("precision",),
    )
    sub.description = "Read the step that is compiled for a GPU; none is needed."
    sub.add_argument("--chip", default="h200", help="h100 or h200")
    sub.add_argument("--shape", type=_shape, default=(4096, 256), metavar="HxB")
    sub.add_argument(
        "--window", type=_COUNT, default=256, help="bytes per row and step"
    )
    sub.add_argument("--cell", default="mlstm", help="mlstm or lstm")
    sub.add_argument("--layers", type=_COUNT, default=1)
    sub.add_argument("--devices", type=_COUNT, default=1, help="1, or up to 8")
    sub.add_argument("--layout", default="platform", help=_LAYOUT_HELP)
    sub.add_argument("--average", default="fp32", help="gradients in fp32 or compute")

    sub = _subcommand(what, "featurize", measures.featurize, "texts to features")
    sub.add_argument("--input", type=Path, metavar="FILE", help="texts; else built in")
    sub.add_argument("--text-key", help="key or column of the text")
    sub.add_argument("--hidden", type=_COUNT, default=1024, help="units")
    sub.add_argument("--batch-size", type=_COUNT, default=64)

    sub = _subcommand(what, "classify", measures.classify, "a table in, a table out")
    sub.add_argument("--hidden", type=_COUNT, default=1024, help="units")
    sub.add_argument("--batch-size", type=_COUNT, default=64)
    sub.add_argument(
        "--texts", type=_COUNT, default=2000, help="rows, from a generator"
    )

    sub = _subcommand(what, "service", measures.service, "requests that come at once")
    sub.add_argument("--hidden", type=_COUNT, default=512, help="units")
    sub.add_argument("--clients", type=_COUNT, default=200, help="that ask at once")
    sub.add_argument("--input", type=Path, metavar="FILE", help="texts; else built in")
    sub.add_argument("--text-key", help="key or column of the text")
    sub.add_argument("--texts", type=_COUNT, default=400, help="one a request")

    sub = _subcommand(what, "data", measures.data, "windows from a corpus", ())
    sub.add_argument("--corpus", type=Path, required=True, metavar="DIR")
    sub.add_argument("--batch-size", type=_COUNT, default=128)
    sub.add_argument("--window", type=_COUNT, default=256)
    sub.add_argument("--devices", type=_COUNT, default=1)
    sub.add_argument("--seconds", type=number(float, POSITIVE), default=600)

    sub = _subcommand(what, "loop", measures.loop, "train.py against its bare step")
    sub.add_argument("--corpus", type=Path, required=True, metavar="DIR")
    sub.add_argument("--shape", type=_shape, default=(1024, 64), metavar="HxB")
    sub.add_argument("--window", type=_COUNT, default=128)
    sub.add_argument("--steps", type=_COUNT, default=60)

    sub = _subcommand(
        what, "prepare", measures.prepare, "making a corpus", ("repeats",)
    )
    sub.add_argument(
        "--reviews", type=_COUNT, default=10**6, help="and four times these"
    )
    sub.add_argument("--folder", type=Path, help="with room: 9 GB a million reviews")

    sub = _subcommand(
        what, "generate", measures.generate, "samples at once", ("rounds",)
    )
    sub.add_argument("--hidden", type=_COUNT, default=1024, help="units")
    sub.add_argument("--samples", type=_COUNT, default=64)
    sub.add_argument("--length", type=_COUNT, default=500, help="bytes of a sample")

    sub = _subcommand(what, "sweep", measures.sweep, "the probe's fits", ("repeats",))
    sub.add_argument("--texts", type=_COUNT, default=6920)
    sub.add_argument("--units", type=_COUNT, default=4096)
    sub.add_argument("--workers", type=_COUNT, default=2)


_SHARED = {
    "precision": {"default": "fp32", "help": "fp32, bf16 or fp16"},
    "rounds": {"type": _COUNT, "default": 9, "help": "of each variant"},
    "repeats": {"type": _COUNT, "default": 3, "help": "of each variant"},
}


def _subcommand(
    what, name: str, measure, measured: str, shared=("precision", "rounds")
):
    sub = what.add_parser(name, help=measured, description=f"Measure {measured}.")
    sub.set_defaults(measure=measure)
    sub.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    for option in shared:
        sub.add_argument(f"--{option}", **_SHARED[option])
    return sub


def _shape(text: str) -> tuple[int, int]:
    try:
        hidden, batch = (int(part) for part in text.split("x"))
    except ValueError:
        hidden = batch = 0
    if min(hidden, batch) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not HxB like 1024x64")
    return hidden, batch


def run(arguments) -> None:
    if not (ROOT / "benchmarks").is_dir():
        raise InputError(
            f"{ROOT} has no benchmarks folder: run sdjax bench from a checkout that"
            " was installed with pip install -e"
        )
    sys.path.insert(0, str(ROOT))
    from sdjax.training.process import keep_freed_memory

    keep_freed_memory()  # as train.py does
    rows, device, *rest = arguments.measure(arguments)
    about = rest[0] if rest else {}
    _print(rows)
    show_lines(f"\non {device}")
    if flags := os.environ.get("XLA_FLAGS"):
        show(f"XLA_FLAGS {flags}")
    if arguments.json:
        record = {"device": device, "flags": flags or "", **about}
        record["rows"] = [row._asdict() for row in rows]
        with naming(arguments.json):
            arguments.json.write_text(json.dumps(record, indent=1) + "\n")


def _print(rows) -> None:
    """Print the rows as a table; what is the same in all of them stands above it."""
    names = [n for n in rows[0]._fields if not n.endswith("_quartiles")]
    shared = [
        n for n in names if len(rows) > 1 and len({getattr(r, n) for r in rows}) == 1
    ]
    show(", ".join(f"{_head(n)} {_cell(rows[0], n)}" for n in shared))
    names = [n for n in names if n not in shared]
    table = [list(map(_head, names))] + [[_cell(r, n) for n in names] for r in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        show("  ".join(text.rjust(w) for text, w in zip(line, widths, strict=True)))


def _head(name: str) -> str:
    return name.replace("_", " ")


def _cell(row, name: str) -> str:
    """Return a value, with its quartiles where the row has them."""
    value, quartiles = getattr(row, name), getattr(row, f"{name}_quartiles", None)
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return " ".join(_number(name, v) for v in value)
    text = _number(name, value)
    if quartiles is None:
        return text
    return f"{text} ({' to '.join(_number(name, v) for v in quartiles)})"


def _number(name: str, value) -> str:
    if isinstance(value, str):
        return value
    if name == "memory_bytes":
        return f"{value / 1e9:,.2f} GB"
    if name == "flops_per_second":
        return f"{value / 1e9:,.1f} G"
    if isinstance(value, int) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}"
