"""One unit as a classifier of its own: regression, threshold and quantiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sdjax.features.columns import unit_name
from sdjax.probe.logistic import LinearFit, fit_few
from sdjax.probe.targets import Targets

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class TopUnit:
    """One unit as a classifier of one class against the other, or the rest."""

    index: int  # of the feature
    name: str  # its number in the model, with the pooling if there are several
    target: str  # the class that it predicts; the positive one of two
    l1_weight: float  # in the L1 classifier of all units, at the chosen C
    weight: float  # in its own logistic regression
    intercept: float
    sign: int  # of `weight`: +1 if larger values mean `target`, else -1
    threshold: float  # the decision boundary of its own regression
    accuracy: dict[str, float]  # of its own regression, by split
    quantiles: dict[str, dict[str, float]]  # on test, by side, then by quantile


def class_differences(features: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the absolute difference of class means, float64[columns, H].

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
    """Fit one unit on train for one column of targets, and evaluate every split.

    Args:
        unit: index of the feature.
        column: index of the column (`Targets.columns`).
        targets: the task.
        fits: the L1 fits on all units, by column.
        data: a `Split` by name.
        metadata: of the features.
    """
    values = {n: (s.features[:, [unit]], s.columns[:, column]) for n, s in data.items()}
    fit = fit_few(*values["train"])
    weight, sides = float(fit.weights[0]), targets.sides[column]
    test_values, labels = values["test"]
    return TopUnit(
        index=unit,
        name=unit_name(unit, data["train"].features.shape[1], metadata),
        target=sides[1],
        l1_weight=float(fits[column].weights[unit]),
        weight=weight,
        intercept=fit.intercept,
        sign=-1 if weight < 0 else 1,
        # A weight of zero has no threshold; the mean keeps the report finite.
        threshold=-fit.intercept / weight if weight else float(test_values.mean()),
        accuracy={
            name: float(np.mean((x[:, 0] * weight + fit.intercept > 0) == y))
            for name, (x, y) in values.items()
        },
        quantiles={
            side: {
                f"{q:.2f}": float(np.quantile(test_values[labels == label, 0], q))
                for q in QUANTILES
            }
            for label, side in enumerate(sides)
        },
    )
