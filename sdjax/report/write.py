"""Writing the report of a probe: page, JSON, figures and classifier."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from sdjax.errors import InputError, naming
from sdjax.features.file import FeatureSet
from sdjax.features.trace import TracedText
from sdjax.files import move_files
from sdjax.integrity import file_digests, sealed
from sdjax.portable import stored_metadata
from sdjax.probe import overlap
from sdjax.probe.bag_of_words import BagOfWords
from sdjax.probe.l1_probe import ProbeResult
from sdjax.probe.label_efficiency import Efficiency
from sdjax.report import figures, page
from sdjax.report.coloured_figure import coloured_texts
from sdjax.report.coloured_text import Scale
from sdjax.report.numbers import typeset
from sdjax.report.page import HOW_TO_READ

FORMAT = "sdjax-report-3"
PAGE, DATA, CLASSIFIER = "report.html", "report.json", "classifier"
_ABSENT = {
    "bits_per_character": "bits per character were not given",
    "training_curve": "no metrics log was given",
    "probe_points": "no other checkpoints were probed",
    "coloured_texts": "no text was traced, because that needs the checkpoint",
    "bag_of_words": "not requested",
    "data_efficiency": "not requested",
}
# Files that an earlier report may have left in the folder.
_STALE = ("report.md", *(f"{n}.{kind}" for n in HOW_TO_READ for kind in ("png", "svg")))


def write_report(
    folder: str | os.PathLike,
    result: ProbeResult,
    splits: Mapping[str, FeatureSet],
    *,
    bits_per_character: float | None = None,
    records: Sequence[Mapping] = (),
    probe_points: Sequence[tuple[int, float]] = (),
    traced: tuple[Sequence[TracedText], Sequence[TracedText]] = ((), ()),
    words: BagOfWords | None = None,
    efficiency: Efficiency | None = None,
    absent: Mapping[str, str] | None = None,
) -> Path:
    """Write the page, `report.json`, the figures and the classifier.

    An older report is replaced. `report.json` is written last, so a folder that
    contains it holds a complete report. Other files in the folder are not touched.

    Args:
        folder: to write to; created if it does not exist.
        result: of the probe.
        splits: the features that were probed, by `train`, `valid` and `test`.
        bits_per_character: of the checkpoint on its valid split.
        records: lines of `metrics.jsonl`, for the training curve.
        probe_points: (step, test accuracy) of saved checkpoints.
        traced: the most positive and the most negative texts, traced through the top
            unit.
        words: the bag-of-words baseline.
        efficiency: accuracy by number of labelled texts.
        absent: reasons why an optional part is missing, by its name:
            `bits_per_character`, `training_curve`, `probe_points`, `coloured_texts`,
            `bag_of_words` or `data_efficiency`.

    Returns:
        The path of the page.

    Raises:
        InputError: `folder` is a file.
        OSError: names `folder`; it could not be written.
    """
    folder = Path(folder)
    make_folder(folder)
    records = [record for record in records if _measured(record)]
    present = {
        "bits_per_character": bits_per_character is not None,
        "training_curve": bool(records),
        "probe_points": bool(probe_points),
        "coloured_texts": any(traced),
        "bag_of_words": words is not None,
        "data_efficiency": efficiency is not None,
    }
    reasons = {
        name: (absent or {}).get(name, default)
        for name, default in _ABSENT.items()
        if not present[name]
    }
    headed = _headed(result, traced)
    with naming(folder), _staging(folder) as staged:
        _draw(staged, result, splits["test"], records, probe_points, headed, efficiency)
        drawn = [name for name in HOW_TO_READ if (staged / f"{name}.png").exists()]
        text = page.compose(
            result,
            splits,
            {
                path.stem: path.read_text(encoding="utf-8")
                for path in sorted(staged.glob("*.svg"))
            },
            reasons,
            bits_per_character=bits_per_character,
            words=words,
            efficiency=efficiency,
            traced=headed,
        )
        data = {
            "format": FORMAT,
            "bits_per_character": bits_per_character,
            "probe": result.as_json(),
            "bag_of_words": words.as_json() if words else None,
            "data_efficiency": efficiency.as_json() if efficiency else None,
            "probe_points": [
                {"step": int(step), "test_accuracy": float(accuracy)}
                for step, accuracy in probe_points
            ],
            "sources": {
                name: stored_metadata(split.metadata, folder)
                for name, split in splits.items()
            },
            "figures": {name: f"{name}.png" for name in drawn},
            "classifier": CLASSIFIER,
            "also_in_test": _also_in_test(splits),
            "absent": reasons,
        }
        # A path or a text may hold lone surrogates, which UTF-8 cannot encode.
        (staged / PAGE).write_text(text, encoding="utf-8", errors="replace")
        data["digests"] = file_digests(staged, sorted(p.name for p in staged.iterdir()))
        text = json.dumps(sealed(data), indent=2) + "\n"
        (staged / DATA).write_text(text, encoding="utf-8")
        for stale in (DATA, *_STALE):
            (folder / stale).unlink(missing_ok=True)
        result.classifier.save(folder / CLASSIFIER)
        names = sorted(path.name for path in staged.iterdir())
        # Whatever a kill leaves, there is a page by which `make_folder` knows it.
        in_order = (PAGE, *(n for n in names if n not in (PAGE, DATA)), DATA)
        move_files((staged / name, folder / name) for name in in_order)
    return folder / PAGE


def _also_in_test(splits: Mapping[str, FeatureSet]) -> dict[str, int] | None:
    """Count the texts of the other splits that test has, too; None: unknown."""
    found = overlap.find_overlap(splits)
    return found and {name: int(rows.sum()) for name, rows in found.items()}


def is_report(folder: Path) -> bool:
    """Tell a report, or what a kill left of one, by its files."""
    return any((folder / name).is_file() for name in (PAGE, DATA))


def make_folder(folder: Path) -> None:
    """Create the folder of the report.

    Raises:
        InputError: `folder` is a file, or has files of a report's names without being
            one.
        OSError: names `folder`; it could not be created.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder for the report")
    if not is_report(folder):
        for name in _STALE:
            if (folder / name).exists():
                raise InputError(
                    f"{folder} is no report, and a report would replace its {name};"
                    " give another folder"
                )
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Create a temporary folder inside the report's, and remove it at the end."""
    with tempfile.TemporaryDirectory(prefix=".report-", dir=folder) as staged:
        yield Path(staged)


def _draw(
    folder: Path,
    result: ProbeResult,
    test: FeatureSet,
    records: Sequence[Mapping],
    probe_points: Sequence[tuple[int, float]],
    headed: Sequence[tuple[str, TracedText]],
    efficiency: Efficiency | None,
) -> None:
    """Draw the figures for which there is data."""
    top, targets = result.top_unit, result.targets
    paths = {name: folder / f"{name}.png" for name in HOW_TO_READ}
    sides = tuple(top.quantiles)
    column = [side for _, side in targets.sides].index(top.target)
    figures.unit_weights(
        result.effects[column], top.index, paths["unit_weights"], top.name
    )
    figures.unit_histogram(
        test.features[:, top.index],
        targets.columns(targets.positions_of(test))[:, column],
        top.threshold,
        top.name,
        paths["unit_histogram"],
        sides,
    )
    figures.topk_accuracy(
        [(point.k, point.accuracy) for point in result.top_k],
        [(point.k, point.accuracy) for point in result.without_top_k],
        (len(result.order), result.accuracy),
        result.majority["test"],
        paths["topk_accuracy"],
    )
    if efficiency:
        figures.data_efficiency(
            {
                name: [(point.texts, point.accuracy) for point in points]
                for name, points in efficiency.curves.items()
            },
            result.majority["test"],
            paths["data_efficiency"],
        )
    if records:
        figures.training_curve(
            records,
            probe_points,
            paths["training_curve"],
            majority=result.majority["test"],
        )
    if headed:
        scale = Scale.of(asdict(top))
        coloured_texts(headed, top.name, scale, paths["coloured_texts"], sides)


def _headed(
    result: ProbeResult, traced: tuple[Sequence[TracedText], Sequence[TracedText]]
) -> list[tuple[str, TracedText]]:
    """Return the heading of each traced text, with the text."""
    low, high = result.top_unit.quantiles
    return [
        (
            f"most {side} {rank}  \u00b7  "
            f"{'no label' if text.label is None else f'labelled {text.label}'}  "
            f"\u00b7  ends at {typeset(text.values[-1], '+.2f')}",
            text,
        )
        for side, texts in zip((high, low), traced, strict=True)
        for rank, text in enumerate(texts, start=1)
    ]


def _measured(record: Mapping) -> bool:
    """Tell whether a line of the metrics log has bits per character."""
    return record.get("train_bpc") is not None or record.get("valid_bpc") is not None
