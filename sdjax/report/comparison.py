"""Comparison of runs: bits per character over progress, characters and time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from sdjax.checkpoints.meta import Meta
from sdjax.errors import InputError
from sdjax.report.style import (
    ACCENT,
    INK,
    NEGATIVE,
    OCHRE,
    POSITIVE,
    legend_above,
    write_figure,
)
from sdjax.terminal import printable

_COLOURS = (ACCENT, POSITIVE, NEGATIVE, OCHRE, INK)
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
MAX_RUNS = len(_COLOURS) * len(_DASHES)
HEADER = (
    "run",
    "model",
    "precision",
    "characters",
    "minutes",
    "characters/s",
    "train",
    "valid, best",
)


@dataclass(frozen=True)
class Run:
    """The log of one run; arrays are float64 with one entry per record, in order.

    Args:
        name: of the run folder.
        model: for example `mlstm 512`; empty if there is no checkpoint.
        precision: empty if there is no checkpoint.
        progress: fraction of the planned updates.
        chars: characters seen.
        minutes: training time, without evaluation and saving.
        train, valid: bits per character, NaN if not measured.
    """

    name: str
    model: str
    precision: str
    progress: np.ndarray
    chars: np.ndarray
    minutes: np.ndarray
    train: np.ndarray
    valid: np.ndarray


def read_run(folder: Path, records: Sequence[Mapping], meta: Meta | None = None) -> Run:
    """Build a `Run` from the log of a run.

    Args:
        folder: the run folder.
        records: lines of `metrics.jsonl`.
        meta: of one of its checkpoints; gives the model and the planned number of
            updates. Without it the last logged update counts as the end.

    Raises:
        InputError: the log has no bits per character.
    """
    records = [r for r in records if not {"step", "chars"} - set(r)]
    known = [r for r in records if any(r.get(k) for k in ("train_bpc", "valid_bpc"))]
    if not known:
        raise InputError(
            f"{folder}: no bits per character in metrics.jsonl; give the folder of a "
            "run (--workdir of sdjax train) that has logged some"
        )
    known = sorted(known, key=lambda record: record["step"])
    model, config = (meta.model, meta.config) if meta else ({}, {})
    chars = _column(known, "chars")
    seconds = np.diff(chars, prepend=0.0) / _column(known, "chars_per_second")
    planned = meta.total_steps if meta else None
    # Checkpoints of older versions only say so where the config counts steps.
    planned = planned or config.get("train_steps") or known[-1]["step"]
    return Run(
        name=printable(folder.resolve().name),
        model=_model_name(model) if model else "",
        precision=model.get("precision", ""),
        progress=_column(known, "step") / planned,
        chars=chars,
        minutes=np.cumsum(np.nan_to_num(seconds)) / 60,
        train=_column(known, "train_bpc"),
        valid=_column(known, "valid_bpc"),
    )


def _model_name(model: Mapping) -> str:
    layers = model.get("num_layers", 1)
    stack = f"{layers} x " if layers > 1 else ""
    return f"{model['cell']} {stack}{model['hidden_size']:,}"


def table(runs: Sequence[Run]) -> list[str]:
    """Return a table with one row per run under `HEADER`; `-` means unknown."""
    rows = [HEADER, *(_row(run) for run in runs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left_aligned = (0, 1, 2)  # the columns of names; the others are numbers
    return [
        "  ".join(
            cell.ljust(width) if i in left_aligned else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def compare(runs: Sequence[Run], path: Path) -> None:
    """Draw bits per character of several runs over progress, characters and time.

    Thick lines with points are valid, thin lines train. Runs that log at the same
    numbers of characters as the first run are also drawn as differences from it: noise
    of the shared data order cancels there.

    Args:
        runs: at most `MAX_RUNS`.
        path: of the PNG; an SVG is written beside it.

    Raises:
        InputError: more runs than there are distinct line styles.
    """
    if len(runs) > MAX_RUNS:
        raise InputError(
            f"{len(runs)} runs cannot be told apart; give at most {MAX_RUNS}"
        )
    differences = [
        i
        for i, run in enumerate(runs)
        if i and len(_shared(runs[0], run)[0]) >= len(run.chars) / 2
    ]
    measured = any(np.isfinite(run.minutes[-1]) and run.minutes[-1] for run in runs)
    across = [
        ("progress", "share of the updates", PercentFormatter(1, decimals=0)),
        ("chars", "characters seen", EngFormatter(sep="")),
        ("minutes", "minutes of training", None),
    ][: 3 if measured else 2]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(across) + bool(differences), squeeze=False)[:, 0]
        for axes, (key, label, formatter) in zip(panels, across, strict=False):
            for i, run in enumerate(runs):
                _lines(axes, run, getattr(run, key), i)
            axes.set(xlabel=label, ylabel="bits per character", xlim=(0, None))
            if formatter:
                axes.xaxis.set_major_formatter(formatter)
            axes.set_ylim(*_limits(runs))
        if differences:
            _differences(panels[-1], runs, differences)
        panels[0].set_title("Bits per character: valid (points), train (thin)")
        legend_above(panels[0], ncols=2)

    count = len(across) + bool(differences)
    write_figure(path, 2.5 * count + 0.3 + 0.12 * len(runs), draw)


def _lines(axes: Axes, run: Run, across: np.ndarray, i: int) -> None:
    colour, dash = _COLOURS[i % len(_COLOURS)], _DASHES[i // len(_COLOURS)]
    about = ", ".join(part for part in (run.model, run.precision) if part)
    label = f"{run.name} ({about})" if about else run.name
    style = {"color": colour, "linestyle": dash}
    known = np.isfinite(run.train)
    axes.plot(across[known], run.train[known], linewidth=0.8, alpha=0.45, **style)
    known = np.isfinite(run.valid)
    points = {"marker": "o", "markersize": 3, "linewidth": 1.6}
    axes.plot(across[known], run.valid[known], label=label, **points, **style)


def _shared(first: Run, run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the numbers of characters that both log, and their indices in each."""
    return np.intersect1d(first.chars, run.chars, return_indices=True)


def _differences(axes: Axes, runs: Sequence[Run], which: Sequence[int]) -> None:
    """Draw the differences of some runs from the first, over characters."""
    axes.axhline(0, color=_COLOURS[0], linewidth=1.6)
    late = []
    for i in which:
        chars, at_first, at = _shared(runs[0], runs[i])
        run, first = runs[i], runs[0]
        differences = {
            "train": run.train[at] - first.train[at_first],
            "valid": run.valid[at] - first.valid[at_first],
        }
        _lines(axes, replace(run, **differences), chars, i)
        for values in differences.values():
            late.append(np.abs(values[chars >= first.chars[-1] / 4]))
    late = np.concatenate(late)
    reach = 1.2 * float(np.max(late[np.isfinite(late)], initial=1e-4))
    axes.set(
        xlabel="characters seen",
        ylabel=f"bits above {runs[0].name}",
        xlim=(0, None),
        ylim=(-reach, reach),  # fits the last three quarters; the start is steep
    )
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _limits(runs: Sequence[Run]) -> tuple[float, float]:
    """Cut off the steep start of the curves, which would flatten the rest."""
    measured = [
        values[np.isfinite(values)]
        for run in runs
        for values in (run.valid if np.isfinite(run.valid).any() else run.train,)
    ]
    low = min(float(values.min()) for values in measured)
    high = max(float(np.quantile(values, 0.9)) for values in measured)
    margin = 0.08 * (high - low) + 0.01
    return low - margin, high + margin


def _row(run: Run) -> tuple[str, ...]:
    minutes, chars = run.minutes[-1], run.chars[-1]
    train = run.train[np.isfinite(run.train)]
    valid = run.valid[np.isfinite(run.valid)]
    return (
        run.name,
        run.model or "-",
        run.precision or "-",
        f"{chars:,.0f}",
        f"{minutes:.1f}" if minutes else "-",
        f"{chars / minutes / 60:,.0f}" if minutes else "-",
        f"{train[-1]:.3f}" if len(train) else "-",
        f"{valid.min():.3f}" if len(valid) else "-",
    )


def _column(records: Sequence[Mapping], key: str) -> np.ndarray:
    """Return one value per record; NaN if the record lacks the key."""
    return np.array(
        [np.nan if r.get(key) is None else r[key] for r in records], np.float64
    )
