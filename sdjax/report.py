"""The report: a probe's result and its figures, as a page and as JSON."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sdjax import figures, page
from sdjax.coloured_text import TracedText, coloured_texts
from sdjax.errors import InputError, naming
from sdjax.featurefile import FeatureSet
from sdjax.probe import ProbeResult

FORMAT = "sdjax-report-1"
PAGE, DATA = "report.md", "report.json"
_ABSENT = {
    "bits_per_character": "bits per character were not given",
    "training_curve": "no metrics log was given",
    "probe_points": "no other checkpoints were probed",
    "coloured_texts": "no text was traced, which takes the checkpoint",
}


def write_report(
    folder: str | os.PathLike,
    result: ProbeResult,
    splits: Mapping[str, FeatureSet],
    *,
    bits_per_character: float | None = None,
    records: Sequence[Mapping] = (),
    probe_points: Sequence[tuple[int, float]] = (),
    traced: tuple[Sequence[TracedText], Sequence[TracedText]] = ((), ()),
    absent: Mapping[str, str] | None = None,
) -> Path:
    """Write `report.md`, `report.json` and their figures; an older report is replaced.

    `report.json` is written last: a folder that has it holds a whole report. Other
    files in the folder are left alone.

    Args:
        folder: to write to; made when it is not there.
        result: what the probe found.
        splits: the features that were probed, by `train`, `valid` and `test`.
        bits_per_character: of the checkpoint on its valid split.
        records: lines of `metrics.jsonl`, for the training curve.
        probe_points: (step, test accuracy) of saved checkpoints.
        traced: the most positive and the most negative texts, as the top unit saw them.
        absent: why something is not given: a reason by `bits_per_character`,
            `training_curve`, `probe_points` or `coloured_texts`.

    Returns:
        The path of `report.md`.

    Raises:
        InputError: `folder` is a file.
        OSError: names `folder`; it could not be written.
    """
    folder = Path(folder)
    make_folder(folder)
    records = [record for record in records if _measured(record)]
    given = {
        "bits_per_character": bits_per_character is not None,
        "training_curve": bool(records),
        "probe_points": bool(probe_points),
        "coloured_texts": any(traced),
    }
    reasons = {
        name: (absent or {}).get(name, default)
        for name, default in _ABSENT.items()
        if not given[name]
    }
    with naming(folder), _staging(folder) as staged:
        drawn = _draw(staged, result, splits["test"], records, probe_points, traced)
        text = page.compose(result, splits, drawn, reasons, bits_per_character)
        (staged / PAGE).write_text(text, encoding="utf-8")
        data = {
            "format": FORMAT,
            "bits_per_character": bits_per_character,
            "probe": result.as_json(),
            "probe_points": [
                {"step": int(step), "test_accuracy": float(accuracy)}
                for step, accuracy in probe_points
            ],
            "sources": {name: split.metadata for name, split in splits.items()},
            "figures": {name: f"{name}.png" for name in drawn},
            "absent": reasons,
        }
        (staged / DATA).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        for stale in (DATA, PAGE, *(f"{name}.png" for name in page.HOW_TO_READ)):
            (folder / stale).unlink(missing_ok=True)
        for name in (*(f"{name}.png" for name in drawn), PAGE, DATA):
            os.replace(staged / name, folder / name)
    return folder / PAGE


def make_folder(folder: Path) -> None:
    """Make the report's folder, or say why it cannot be.

    Raises:
        InputError: `folder` is a file.
        OSError: names `folder`; it could not be made.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder for the report")
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Make a folder in the report's to write in, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=".report-", dir=folder) as staged:
        yield Path(staged)


def _draw(
    folder: Path,
    result: ProbeResult,
    test: FeatureSet,
    records: Sequence[Mapping],
    probe_points: Sequence[tuple[int, float]],
    traced: tuple[Sequence[TracedText], Sequence[TracedText]],
) -> list[str]:
    """Draw what there is data for; the names of what was drawn, in the page's order."""
    top = result.top_unit
    paths = {name: folder / f"{name}.png" for name in page.HOW_TO_READ}
    figures.unit_weights(result.weights, top.index, paths["unit_weights"])
    values = test.features[:, top.index]
    figures.unit_histogram(
        values, test.labels, top.threshold, top.index, paths["unit_histogram"]
    )
    figures.topk_accuracy(
        [(point.k, point.accuracy) for point in result.top_k],
        (len(result.weights), result.accuracy),
        result.majority["test"],
        paths["topk_accuracy"],
    )
    if records:
        figures.training_curve(
            records,
            probe_points,
            paths["training_curve"],
            majority=result.majority["test"],
        )
    if any(traced):
        coloured_texts(
            _headed(traced),
            top.index,
            top.threshold,
            top.sign,
            paths["coloured_texts"],
        )
    return [name for name, path in paths.items() if path.exists()]


def _headed(
    traced: tuple[Sequence[TracedText], Sequence[TracedText]],
) -> list[tuple[str, TracedText]]:
    """Each traced text with the line that stands above it."""
    classes = {None: "no label", 0: "labelled negative", 1: "labelled positive"}
    return [
        (
            f"{kind} {rank}  \u00b7  {classes[text.label]}  \u00b7  "
            f"ends at {text.values[-1]:+.2f}".replace("-", "\u2212"),
            text,
        )
        for kind, texts in zip(("most positive", "most negative"), traced, strict=True)
        for rank, text in enumerate(texts, start=1)
    ]


def _measured(record: Mapping) -> bool:
    """Whether a line of the metrics log has a place on the training curve."""
    return record.get("train_bpc") is not None or record.get("valid_bpc") is not None
