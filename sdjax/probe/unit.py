"""One unit alone: its own regression, where it changes its mind, and its range."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sdjax.features.columns import layers_within, unit_label
from sdjax.probe.logistic import LinearFit, fit_few
from sdjax.probe.targets import Targets

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class TopUnit:
    """A unit alone, deciding between one class and the other, or all others."""

    index: int  # among the features
    name: str  # of the unit: its number in the model, and of several poolings which
    target: str  # the class that it is about: of two, the positive one
    l1_weight: float  # among all units, at the chosen strength
    weight: float  # of its own logistic regression
    intercept: float
    sign: int  # of `weight`: +1 when larger values mean `target`, else -1
    threshold: float  # the value at which its own regression changes its mind
    accuracy: dict[str, float]  # of that decision, by split
    quantiles: dict[str, dict[str, float]]  # by side, then by quantile; test split


def class_differences(features: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return how far the means of the two sides are apart, float64[columns, H].

    Args:
        features: float32[N, H].
        columns: {0, 1}[N, columns].
    """
    differences = [
        features[labels == 1].mean(axis=0, dtype=np.float64)
        - features[labels == 0].mean(axis=0, dtype=np.float64)
        for labels in columns.T
    ]
    return np.abs(differences)


def describe_unit(
    unit: int,
    column: int,
    targets: Targets,
    fits: Sequence[LinearFit],
    data: Mapping,
    metadata: Mapping,
) -> TopUnit:
    """Fit one unit on train, for one column of the labels, and measure every split.

    Args:
        unit: its index.
        column: of the labels (`Targets.columns`).
        targets: the task.
        fits: the L1 fits of all units, by column.
        data: a `Split` by name.
        metadata: of the features.
    """
    values = {n: (s.features[:, [unit]], s.columns[:, column]) for n, s in data.items()}
    fit = fit_few(*values["train"])
    weight, sides = float(fit.weights[0]), targets.sides[column]
    measured, labels = values["test"]
    return TopUnit(
        index=unit,
        name=unit_name(unit, data["train"].features.shape[1], metadata),
        target=sides[1],
        l1_weight=float(fits[column].weights[unit]),
        weight=weight,
        intercept=fit.intercept,
        sign=-1 if weight < 0 else 1,
        # A unit that says nothing has no threshold; its mean keeps the report finite.
        threshold=-fit.intercept / weight if weight else float(measured.mean()),
        accuracy={
            name: float(np.mean((x[:, 0] * weight + fit.intercept > 0) == y))
            for name, (x, y) in values.items()
        },
        quantiles={
            side: {
                f"{q:.2f}": float(np.quantile(measured[labels == label, 0], q))
                for q in QUANTILES
            }
            for label, side in enumerate(sides)
        },
    )


def unit_name(index: int, width: int, metadata: Mapping) -> str:
    """Name a feature by its unit, such as `88`, or `88 (mean)` of several poolings."""
    units, pooling = metadata.get("units", width), metadata.get("pooling")
    label = unit_label(index % units, units, layers_within(metadata))
    if not isinstance(pooling, list) or units * len(pooling) != width:
        return label
    return f"{label} ({pooling[index // units]})"
