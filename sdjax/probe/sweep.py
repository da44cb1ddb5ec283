"""The sweep over C: logistic regressions in parallel, the best chosen on valid."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from joblib import Parallel, delayed
from sklearn.metrics import precision_recall_curve

from sdjax.model.classifier import Classifier
from sdjax.probe.logistic import LinearFit, fit_l1
from sdjax.probe.targets import Targets

C_VALUES = tuple(2.0**exponent for exponent in range(-8, 1))
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Split:
    """One split: its features, and its labels in both encodings of `Targets`."""

    features: np.ndarray  # float32[N, H]
    positions: np.ndarray  # class indices, `Targets.positions`
    columns: np.ndarray  # binary targets, `Targets.columns`


@dataclass(frozen=True)
class SweepPoint:
    """The result of the sweep at one C."""

    C: float
    valid_score: float  # by `Targets.criterion`
    nonzero: int  # units with a nonzero weight in any column
    converged: bool


def fit_sweep(
    train: Split, C_values: Sequence[float], n_jobs: int
) -> list[list[LinearFit]]:
    """Fit every column at every C.

    Args:
        train: the split to fit.
        C_values: candidates for C.
        n_jobs: processes, -1 for one per core; the result does not depend on it.

    Returns:
        For each C, in the given order, one fit per column.
    """
    count = train.columns.shape[1]
    jobs = [(C, column) for C in C_values for column in range(count)]
    # Processes instead of threads, because liblinear keeps one random state per
    # process. The largest C takes longest and therefore starts first.
    longest_first = sorted(range(len(jobs)), key=lambda job: -jobs[job][0])
    done = Parallel(n_jobs=n_jobs, backend="loky")(
        delayed(fit_l1)(train.features, train.columns[:, jobs[job][1]], jobs[job][0])
        for job in longest_first
    )
    fits = dict(zip(longest_first, done, strict=True))
    ordered = [fits[job] for job in range(len(jobs))]
    return [ordered[i : i + count] for i in range(0, len(jobs), count)]


def classifier_of(targets: Targets, fits: Sequence[LinearFit]) -> Classifier:
    """Join the fits of all columns into a classifier with thresholds of 0.5."""
    return Classifier(
        task=targets.task,
        classes=targets.classes,
        coef=np.stack([fit.weights for fit in fits]),
        intercept=np.array([fit.intercept for fit in fits], np.float64),
        thresholds=np.full(len(fits), 0.5),
    )


def sweep_C(
    targets: Targets,
    train: Split,
    valid: Split,
    C_values: Sequence[float],
    n_jobs: int = -1,
) -> tuple[tuple[SweepPoint, ...], list[list[LinearFit]]]:
    """Fit train at every C and score each fit on valid.

    Returns:
        One point and one fit per column for each C, in ascending order.
    """
    ascending = sorted(C_values)
    fitted = fit_sweep(train, ascending, n_jobs)
    points = []
    for C, fits in zip(ascending, fitted, strict=True):
        # With the thresholds that it would be saved with.
        classifier = tune_thresholds(classifier_of(targets, fits), valid)
        points.append(
            SweepPoint(
                C=C,
                valid_score=targets.choice_scores(
                    valid.positions, classifier.predict(valid.features)
                )[targets.criterion],
                nonzero=int(np.count_nonzero(classifier.coef.any(axis=0))),
                converged=all(fit.converged for fit in fits),
            )
        )
    return tuple(points), fitted


def scores_of(targets: Targets, classifier: Classifier, split: Split) -> dict:
    """Return what a classifier, as it is saved, reaches on a split."""
    predicted = classifier.predict(split.features)
    return targets.scores(split.positions, predicted)


def choose_C(sweep: Sequence[SweepPoint]) -> int:
    """Return the index of the best point on valid; ties go to the smallest C."""
    return min(range(len(sweep)), key=lambda i: (-sweep[i].valid_score, sweep[i].C))


def tune_thresholds(classifier: Classifier, valid: Split) -> Classifier:
    """Return a multi-label classifier with the thresholds of best F1 on valid.

    Classifiers of other tasks are returned unchanged.
    """
    if classifier.task != "multilabel":
        return classifier
    probabilities = classifier.predict_proba(valid.features)
    thresholds = [
        best_threshold(p, y)
        for p, y in zip(probabilities.T, valid.columns.T, strict=True)
    ]
    return replace(classifier, thresholds=np.array(thresholds))


def best_threshold(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the threshold of best F1, midway to the next lower probability.

    Args:
        probabilities: float64[N].
        labels: {0, 1}[N], with at least one of each.
    """
    precision, recall, cuts = precision_recall_curve(labels, probabilities)
    total = np.maximum(precision + recall, 1e-12)[:-1]
    best = int(np.argmax(precision[:-1] * recall[:-1] / total))
    below = probabilities[probabilities < cuts[best]].max(initial=0.0)
    return float((below + cuts[best]) / 2)
