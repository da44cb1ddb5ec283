"""What a linear classifier reads from the features, and which unit says most."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from joblib import Parallel, delayed

from sdjax.featurefile import FeatureSet, check_splits
from sdjax.linear import LinearFit, fit_few, fit_l1

STRENGTHS = tuple(2.0**exponent for exponent in range(-8, 1))
SPLITS = ("train", "valid", "test")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class SweepPoint:
    """One strength of the sweep."""

    strength: float
    valid_accuracy: float
    nonzero: int
    converged: bool


@dataclass(frozen=True)
class TopUnit:
    """The unit with the largest absolute L1 weight, alone."""

    index: int
    l1_weight: float  # among all units, at the chosen strength
    weight: float  # of its own logistic regression
    intercept: float
    sign: int  # of `weight`: +1 when larger values mean class 1, else -1
    threshold: float  # the value at which its own regression changes its mind
    accuracy: dict[str, float]  # by split
    quantiles: dict[str, dict[str, float]]  # by class, then by quantile; test split


@dataclass(frozen=True)
class TopK:
    """Accuracy of a regression on the k highest ranked units only."""

    k: int
    accuracy: dict[str, float]  # by split


@dataclass(frozen=True)
class ProbeResult:
    """Everything that the probe found.

    `order` holds all units, the largest absolute L1 weight first; equal weights (the
    many zeros among them) are ordered by the absolute difference of their class means.
    """

    strength: float
    sweep: tuple[SweepPoint, ...]
    weights: np.ndarray  # float64[H], L1 weights at `strength`
    intercept: float
    nonzero: int
    order: np.ndarray  # int64[H]
    accuracy: dict[str, float]  # all units, by split
    top_unit: TopUnit
    top_k: tuple[TopK, ...]
    majority: dict[str, float]  # accuracy of always naming the split's larger class
    counts: dict[str, dict[str, int]]  # texts by split and class

    def as_json(self) -> dict:
        """Everything as JSON-able values; of the weights only those not zero."""
        return {
            "strength": self.strength,
            "sweep": [asdict(point) for point in self.sweep],
            "units": len(self.weights),
            "nonzero": self.nonzero,
            "nonzero_weights": [
                {"unit": int(unit), "weight": float(self.weights[unit])}
                for unit in self.order[: self.nonzero]
            ],
            "intercept": self.intercept,
            "accuracy": self.accuracy,
            "top_unit": asdict(self.top_unit),
            "top_k": [asdict(point) for point in self.top_k],
            "majority": self.majority,
            "counts": self.counts,
        }


def run_probe(
    train: FeatureSet,
    valid: FeatureSet,
    test: FeatureSet,
    *,
    strengths: Sequence[float] = STRENGTHS,
    n_jobs: int = -1,
) -> ProbeResult:
    """Fit L1 logistic regression, choose its strength on valid, and rank the units.

    Features are used as they are, unscaled. Only train is ever fitted; valid chooses
    the strength (equal accuracies: the smaller, hence sparser); test is only measured.

    Args:
        train, valid, test: features float32[N, H] with labels in {0, 1}, all from one
            checkpoint.
        strengths: candidates for C, the inverse of the weight of the L1 penalty.
        n_jobs: processes for the fits, -1 for one per core; the result does not
            depend on it.

    Returns:
        The chosen fit, its accuracies, and the top units on their own.

    Raises:
        InputError: the features cannot be probed together (`check_splits`).

    Reference:
        Radford et al. 2017, "Learning to generate reviews and discovering sentiment",
        section 3.3 and 4.1.
    """
    splits = dict(zip(SPLITS, (train, valid, test), strict=True))
    check_splits(splits)
    data = {name: (split.features, split.labels) for name, split in splits.items()}
    sweep, fits = sweep_strengths(
        data["train"], data["valid"], strengths, n_jobs=n_jobs
    )
    best = choose_strength(sweep)
    fit = fits[best]
    order = rank_units(fit.weights, *data["train"])
    nonzero = int(np.count_nonzero(fit.weights))
    return ProbeResult(
        strength=sweep[best].strength,
        sweep=sweep,
        weights=fit.weights,
        intercept=fit.intercept,
        nonzero=nonzero,
        order=order,
        accuracy={name: fit.accuracy(*pair) for name, pair in data.items()},
        top_unit=_top_unit(int(order[0]), fit.weights, data),
        top_k=tuple(_top_k(order[:k], data) for k in _powers_of_two(nonzero)),
        majority={name: _majority(labels) for name, (_, labels) in data.items()},
        counts={
            name: {
                "negative": int(np.sum(labels == 0)),
                "positive": int(np.sum(labels == 1)),
            }
            for name, (_, labels) in data.items()
        },
    )


def accuracy_at(train: FeatureSet, test: FeatureSet, strength: float) -> float:
    """Fit on train at one strength and return the accuracy on test.

    For probe accuracy over training: features of other checkpoints, the same strength.

    Raises:
        InputError: the features cannot be probed together (`check_splits`).
    """
    check_splits({"train": train, "test": test})
    fit = fit_l1(train.features, train.labels, strength)
    return fit.accuracy(test.features, test.labels)


def extreme_examples(
    feature_set: FeatureSet, unit: int, sign: int, count: int = 4
) -> tuple[list[int], list[int]]:
    """Choose the rows that a unit finds most positive and most negative.

    Args:
        feature_set: features float32[N, H].
        unit: index of the unit.
        sign: +1 when larger values mean class 1, -1 when they mean class 0.
        count: rows of each kind, fewer when N is less than twice that.

    Returns:
        Row indices of the most positive and of the most negative texts, the most
        extreme first; no row is in both.
    """
    count = min(count, len(feature_set) // 2)
    rows = np.argsort(-sign * feature_set.features[:, unit], kind="stable").tolist()
    return rows[:count], rows[::-1][:count]


def sweep_strengths(
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    strengths: Sequence[float],
    n_jobs: int = -1,
) -> tuple[tuple[SweepPoint, ...], list[LinearFit]]:
    """Fit train at every strength and measure on valid.

    Args:
        train, valid: features float32[N, H] and labels {0, 1}[N].
        strengths: candidates for C.
        n_jobs: processes, -1 for one per core.

    Returns:
        One point and one fit per strength, in ascending order of strength.
    """
    ascending = sorted(strengths)
    # Processes, not threads: liblinear draws from one random state per process. The
    # largest strength goes first because it takes longest.
    fits = Parallel(n_jobs=n_jobs, backend="loky")(
        delayed(fit_l1)(*train, strength) for strength in reversed(ascending)
    )[::-1]
    points = tuple(
        SweepPoint(
            strength=strength,
            valid_accuracy=fit.accuracy(*valid),
            nonzero=int(np.count_nonzero(fit.weights)),
            converged=fit.converged,
        )
        for strength, fit in zip(ascending, fits, strict=True)
    )
    return points, fits


def choose_strength(sweep: Sequence[SweepPoint]) -> int:
    """Index of the best point on valid; of equal ones the smallest strength."""
    return min(
        range(len(sweep)), key=lambda i: (-sweep[i].valid_accuracy, sweep[i].strength)
    )


def rank_units(
    weights: np.ndarray, features: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Order units by absolute weight, then by absolute difference of class means.

    Args:
        weights: float64[H].
        features: float32[N, H].
        labels: {0, 1}[N].

    Returns:
        int64[H], unit indices, the strongest first; equal in both: the lower index.
    """
    difference = features[labels == 1].mean(axis=0, dtype=np.float64)
    difference -= features[labels == 0].mean(axis=0, dtype=np.float64)
    return np.lexsort((-np.abs(difference), -np.abs(weights)))


def _top_unit(unit: int, l1_weights: np.ndarray, data: Mapping) -> TopUnit:
    """One unit alone: its own regression on train, measured on every split."""
    column = {name: (x[:, [unit]], labels) for name, (x, labels) in data.items()}
    fit = fit_few(*column["train"])
    weight = float(fit.weights[0])
    values, labels = column["test"]
    return TopUnit(
        index=unit,
        l1_weight=float(l1_weights[unit]),
        weight=weight,
        intercept=fit.intercept,
        sign=-1 if weight < 0 else 1,
        # A unit that says nothing has no threshold; its mean keeps the report finite.
        threshold=-fit.intercept / weight if weight else float(values.mean()),
        accuracy={name: fit.accuracy(*pair) for name, pair in column.items()},
        quantiles={
            name: {
                f"{q:.2f}": float(np.quantile(values[labels == label, 0], q))
                for q in QUANTILES
            }
            for label, name in ((0, "negative"), (1, "positive"))
        },
    )


def _top_k(units: np.ndarray, data: Mapping) -> TopK:
    columns = {name: (x[:, units], labels) for name, (x, labels) in data.items()}
    fit = fit_few(*columns["train"])
    accuracy = {name: fit.accuracy(*pair) for name, pair in columns.items()}
    return TopK(k=len(units), accuracy=accuracy)


def _powers_of_two(last: int) -> list[int]:
    """1, 2, 4, ... below `last`, and `last` itself; at least 1."""
    last = max(last, 1)
    return [2**i for i in range(last.bit_length()) if 2**i < last] + [last]


def _majority(labels: np.ndarray) -> float:
    positive = float(np.mean(labels == 1))
    return max(positive, 1 - positive)
