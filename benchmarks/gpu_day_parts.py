"""What `benchmarks.gpu_day` runs: each part on its own, writing as it goes."""

import argparse
import json
import os
import platform
import statistics
import sys
from pathlib import Path

from jinja2 import Environment

from benchmarks import gpu_predictions
from sdjax.files import write_whole
from sdjax.training.metrics import read_metrics

TEMPLATE = Path(__file__).with_name("results_gpu.md.j2")
WINDOW = 256
# What is wanted most comes first.
SPEEDS = [
    *((4096, 256, p) for p in ("bf16", "fp16", "fp32")),
    *((4096, 128, p) for p in ("bf16", "fp16", "fp32")),
    *((4096, 512, p) for p in ("bf16", "fp16", "fp32")),
]
WIDE = [(8192, 128, "bf16"), (8192, 512, "bf16"), (8192, 128, "fp16")]
TINY = [(16, 4, "fp32")]


def save(path: Path, record) -> None:
    write_whole(path, (json.dumps(record, indent=1) + "\n").encode())


def versions(out: Path, rehearse: bool) -> None:
    """Write the card, the versions and the flags in force."""
    import jax

    device = jax.devices()[0]
    limit = (device.memory_stats() or {}).get("bytes_limit", 0)
    record = {
        "device": device.device_kind,
        "platform": device.client.platform_version,
        "memory_gb": round(limit / 1e9, 1),
        "jax": jax.__version__,
        "python": platform.python_version(),
        "flags": os.environ.get("XLA_FLAGS", ""),
    }
    save(out / "versions.json", record)
    print(json.dumps(record))
    if device.platform == "cpu" and not rehearse:
        sys.exit("jax finds no GPU on this machine: see docs/performance.md")


def speed(out: Path, rehearse: bool) -> None:
    """Measure the step and its baselines, shape by shape, and draw the roofline."""
    from benchmarks import roofline, train

    if rehearse:
        train.SQUARE = 64
    rows, device = _measure(out / "speed.json", TINY if rehearse else SPEEDS, rehearse)
    if rows:
        bandwidth = train.memory_bandwidth(8 if rehearse else 512)
        alike = [row for row in rows if row.precision == rows[0].precision]
        roofline.draw(alike, bandwidth, device, out / "speed.png")


def wide(out: Path, rehearse: bool) -> None:
    """Measure whether 8,192 units fit, and how fast they are."""
    from benchmarks import train

    if rehearse:
        train.SQUARE = 64
    shapes = TINY if rehearse else WIDE
    _measure(out / "wide.json", shapes, rehearse, baselines=False)


def _measure(path: Path, shapes, rehearse: bool, baselines: bool = True):
    """Measure shapes one after the other; the file is whole after each of them."""
    import importlib.util

    import jax

    from benchmarks import train

    kind = jax.devices()[0].device_kind
    predicted = gpu_predictions.saved(kind)
    window = 8 if rehearse else WINDOW
    with_torch = baselines and importlib.util.find_spec("torch") is not None
    rows, records, failures = [], [], []
    for hidden, count, precision in shapes:
        shape = train.Shape(hidden, count, window)
        try:
            found = train.measure([shape], precision, 5, baselines, with_torch)
        except jax.errors.JaxRuntimeError as error:  # it does not fit
            why = str(error).splitlines()[0]
            failures.append(f"{hidden} units x {count} rows, {precision}: {why}")
            found = []
        rows += found
        for row in found:
            ours = row.variant == "sdjax"
            name = gpu_predictions.name(hidden, count, precision)
            known = {"predicted": predicted.get(name) if ours else None}
            records.append(row._asdict() | known)
        about = {"device": kind, "window": window, "flags": os.environ.get("XLA_FLAGS")}
        save(path, about | {"rows": records, "failures": failures})
    return rows, kind


def curve(out: Path, rehearse: bool) -> None:
    """Draw the loss of the training run, and keep its log."""
    from sdjax.report import figures

    log = out / "work" / "run" / "metrics.jsonl"
    records = read_metrics(log)
    write_whole(out / "metrics.jsonl", log.read_bytes())
    figures.training_curve(records, (), out / "curve.png")


def results(out: Path, rehearse: bool) -> None:
    """Write the page of all that was measured, with what is missing said."""

    def read(name: str, otherwise):
        path = out / name
        return json.loads(path.read_text()) if path.is_file() else otherwise

    nothing = {"rows": [], "failures": ["not measured"], "window": WINDOW}
    unknown = dict.fromkeys(("device", "memory_gb", "jax", "python", "flags"), "?")
    records = read_metrics(out / "metrics.jsonl")
    run = None
    if records:
        last, rates = records[-1], [r["chars_per_second"] for r in records]
        run = {
            "chars": last["chars"],
            "steps": last["step"],
            "train_bpc": last["train_bpc"],
            "chars_per_second": statistics.median(r for r in rates if r),
        }
    text = Environment(keep_trailing_newline=True).from_string(TEMPLATE.read_text())
    page = text.render(
        versions=read("versions.json", unknown),
        numerics=_last_line(out / "numerics.txt"),
        speed=read("speed.json", nothing),
        wide=read("wide.json", nothing),
        run=run,
        probe=_all_lines(out / "probe.txt"),
    )
    write_whole(out / "results-gpu.md", page.encode())


def _last_line(path: Path) -> str:
    return (_all_lines(path).splitlines() or [""])[-1]


def _all_lines(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""


PARTS = {part.__name__: part for part in (versions, speed, wide, curve, results)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="gpu_day_parts", description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rehearse", action="store_true")
    arguments = parser.parse_args()
    PARTS[arguments.part](arguments.out, arguments.rehearse)


if __name__ == "__main__":
    main()
