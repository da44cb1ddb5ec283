"""Many logistic regressions at once, and the strength that valid likes best."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from joblib import Parallel, delayed
from sklearn.metrics import precision_recall_curve

from sdjax.model.classifier import Classifier
from sdjax.probe.logistic import LinearFit, fit_l1
from sdjax.probe.targets import Targets

STRENGTHS = tuple(2.0**exponent for exponent in range(-8, 1))
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Split:
    """One split: features float32[N, H], and labels as positions and as columns."""

    features: np.ndarray
    positions: np.ndarray
    columns: np.ndarray


@dataclass(frozen=True)
class SweepPoint:
    """One strength of the sweep."""

    strength: float
    valid_score: float  # by the criterion of the targets
    nonzero: int  # units with a weight in any column
    converged: bool


def fit_strengths(
    train: Split, strengths: Sequence[float], n_jobs: int
) -> list[list[LinearFit]]:
    """Fit every column at every strength.

    Args:
        train: what to fit.
        strengths: candidates for C.
        n_jobs: processes, -1 for one per core; the result does not depend on it.

    Returns:
        For each strength, in the order given, a fit per column.
    """
    count = train.columns.shape[1]
    jobs = [(strength, column) for strength in strengths for column in range(count)]
    # Processes, not threads: liblinear draws from one random state per process. The
    # largest strength goes first because it takes longest.
    longest_first = sorted(range(len(jobs)), key=lambda job: -jobs[job][0])
    done = Parallel(n_jobs=n_jobs, backend="loky")(
        delayed(fit_l1)(train.features, train.columns[:, jobs[job][1]], jobs[job][0])
        for job in longest_first
    )
    fits = dict(zip(longest_first, done, strict=True))
    ordered = [fits[job] for job in range(len(jobs))]
    return [ordered[i : i + count] for i in range(0, len(jobs), count)]


def classifier_of(targets: Targets, fits: Sequence[LinearFit]) -> Classifier:
    """Join the fits of all columns; thresholds at one half."""
    return Classifier(
        task=targets.task,
        classes=targets.classes,
        coef=np.stack([fit.weights for fit in fits]),
        intercept=np.array([fit.intercept for fit in fits], np.float64),
        thresholds=np.full(len(fits), 0.5),
    )


def sweep_strengths(
    targets: Targets,
    train: Split,
    valid: Split,
    strengths: Sequence[float],
    n_jobs: int = -1,
) -> tuple[tuple[SweepPoint, ...], list[list[LinearFit]]]:
    """Fit train at every strength and judge on valid.

    Returns:
        One point and one fit per column for each strength, in ascending order.
    """
    ascending = sorted(strengths)
    fitted = fit_strengths(train, ascending, n_jobs)
    points = []
    for strength, fits in zip(ascending, fitted, strict=True):
        classifier = classifier_of(targets, fits)
        predicted = classifier.predict(valid.features)
        points.append(
            SweepPoint(
                strength=strength,
                valid_score=targets.scores(valid.positions, predicted)[
                    targets.criterion
                ],
                nonzero=int(np.count_nonzero(classifier.coef.any(axis=0))),
                converged=all(fit.converged for fit in fits),
            )
        )
    return tuple(points), fitted


def choose_strength(sweep: Sequence[SweepPoint]) -> int:
    """Index of the best point on valid; of equal ones the smallest strength."""
    return min(
        range(len(sweep)), key=lambda i: (-sweep[i].valid_score, sweep[i].strength)
    )


def tuned(classifier: Classifier, valid: Split) -> Classifier:
    """Choose, of several labels at once, the thresholds of best F1 on valid."""
    if classifier.task != "multilabel":
        return classifier
    probabilities = classifier.predict_proba(valid.features)
    thresholds = [
        best_threshold(p, y)
        for p, y in zip(probabilities.T, valid.columns.T, strict=True)
    ]
    return replace(classifier, thresholds=np.array(thresholds))


def best_threshold(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The threshold of best F1, half way to the next lower probability.

    Args:
        probabilities: float64[N].
        labels: {0, 1}[N], both of which occur.
    """
    precision, recall, cuts = precision_recall_curve(labels, probabilities)
    total = np.maximum(precision + recall, 1e-12)[:-1]
    best = int(np.argmax(precision[:-1] * recall[:-1] / total))
    below = probabilities[probabilities < cuts[best]].max(initial=0.0)
    return float((below + cuts[best]) / 2)
