"""What a linear classifier reads from the features, and which unit says most."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from joblib import Parallel, delayed

from sdjax.features.file import FeatureSet
from sdjax.model.classifier import Classifier
from sdjax.probe.logistic import LinearFit, fit_few, fit_l1
from sdjax.probe.sweep import (
    SPLITS,
    STRENGTHS,
    Split,
    SweepPoint,
    choose_strength,
    classifier_of,
    sweep_strengths,
    tuned,
)
from sdjax.probe.targets import Targets, read_targets
from sdjax.probe.unit import TopUnit, class_differences, describe_unit

_DROPPED = (1, 4, 16, 64)  # units left out by the ablation; each takes a whole fit


@dataclass(frozen=True)
class Units:
    """Accuracy with k units: those alone, or all but those."""

    k: int
    accuracy: dict[str, float]  # by split


@dataclass(frozen=True)
class ProbeResult:
    """Everything that the probe found.

    `order` holds all units, the largest effect first: the absolute L1 weight times the
    difference of the unit's class means on train, which is how far apart the unit alone
    moves the scores of the two sides, of several columns the largest. Equal effects
    (the many zeros among them) are ordered by the absolute difference of class means.
    """

    targets: Targets
    strength: float
    sweep: tuple[SweepPoint, ...]
    classifier: Classifier  # of all units, at `strength`
    effects: np.ndarray  # float64[columns, H], with the sign of the weight
    nonzero: int  # units with a weight
    order: np.ndarray  # int64[H]
    scores: dict[str, dict]  # of all units, by split (`Targets.scores`)
    top_unit: TopUnit
    class_units: tuple[TopUnit, ...]  # of each column its own top unit
    top_k: tuple[Units, ...]  # the k highest ranked alone
    without_top_k: tuple[Units, ...]  # all others, fitted again
    majority: dict[str, float]  # accuracy of always naming the split's commonest label
    counts: dict[str, dict[str, int]]  # texts by split and class

    @property
    def accuracy(self) -> dict[str, float]:
        """Of all units, by split."""
        return {split: scores["accuracy"] for split, scores in self.scores.items()}

    def as_json(self) -> dict:
        """Everything as JSON-able values; of the weights only those not zero."""
        weights = self.classifier.coef
        return {
            "task": self.targets.task,
            "classes": list(self.targets.classes),
            "criterion": self.targets.criterion,
            "strength": self.strength,
            "sweep": [asdict(point) for point in self.sweep],
            "units": weights.shape[1],
            "nonzero": self.nonzero,
            "nonzero_weights": [
                {
                    "unit": int(unit),
                    "weight": weights[:, unit].tolist(),
                    "effect": self.effects[:, unit].tolist(),
                }
                for unit in self.order
                if weights[:, unit].any()
            ],
            "intercept": self.classifier.intercept.tolist(),
            "thresholds": self.classifier.thresholds.tolist(),
            "scores": self.scores,
            "top_unit": asdict(self.top_unit),
            "class_units": [asdict(unit) for unit in self.class_units],
            "top_k": [asdict(point) for point in self.top_k],
            "without_top_k": [asdict(point) for point in self.without_top_k],
            "majority": self.majority,
            "counts": self.counts,
        }


def prepare_splits(
    train: FeatureSet, valid: FeatureSet, test: FeatureSet
) -> tuple[Targets, dict[str, Split]]:
    """Check that features can be probed together, and turn labels into columns.

    Raises:
        InputError: they cannot (`read_targets`).
    """
    given = dict(zip(SPLITS, (train, valid, test), strict=True))
    targets = read_targets(given)
    return targets, {name: _split(targets, split) for name, split in given.items()}


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
    the strength (equal scores: the smaller, hence sparser) and, of several labels at
    once, each one's threshold; test is only measured.

    Args:
        train, valid, test: features float32[N, H] with labels, all from one checkpoint.
        strengths: candidates for C, the inverse of the weight of the L1 penalty.
        n_jobs: processes for the fits, -1 for one per core; the result does not
            depend on it.

    Returns:
        The chosen fit, its scores, and the top units with and without the others.

    Raises:
        InputError: the features cannot be probed together (`read_targets`).

    Reference:
        Radford et al. 2017, "Learning to generate reviews and discovering sentiment",
        section 3.3 and 4.1. They rank by the weight alone; ours moves no score where
        a unit hardly varies, or is the same on both sides, whatever its weight.
    """
    targets, data = prepare_splits(train, valid, test)
    sweep, fitted = sweep_strengths(
        targets, data["train"], data["valid"], strengths, n_jobs
    )
    best = choose_strength(sweep)
    strength, fits = sweep[best].strength, fitted[best]
    classifier = tuned(classifier_of(targets, fits), data["valid"])
    features, columns = data["train"].features, data["train"].columns
    effects = classifier.coef * class_differences(features, columns)
    order = rank_units(effects, features, columns)
    ks = _curve_sizes(sweep[best].nonzero)
    column = int(np.argmax(np.abs(effects[:, order[0]])))
    own = [
        rank_units(effects[[c]], data["train"].features, y[:, None])[0]
        for c, y in enumerate(data["train"].columns.T)
    ]
    result = ProbeResult(
        targets=targets,
        strength=strength,
        sweep=sweep,
        classifier=classifier,
        effects=effects,
        nonzero=sweep[best].nonzero,
        order=order,
        scores=_scores(targets, classifier, data),
        top_unit=describe_unit(
            int(order[0]), column, targets, fits, data, train.metadata
        ),
        class_units=tuple(
            describe_unit(int(unit), c, targets, fits, data, train.metadata)
            for c, unit in enumerate(own)
        ),
        top_k=tuple(_alone(targets, order[:k], data) for k in ks),
        without_top_k=_without(
            targets, order, sweep[best].nonzero, data, strength, n_jobs
        ),
        majority={n: targets.majority(s.positions) for n, s in data.items()},
        counts={n: targets.counts(s.positions) for n, s in data.items()},
    )
    found = {
        "top_unit": {
            **asdict(result.top_unit),
            "classes": list(targets.sides[column]),
        },
        "figures": {
            "scores": result.scores,
            "majority": result.majority,
            "strength": strength,
        },
    }
    metadata = {k: v for k, v in train.metadata.items() if k not in _OF_A_FILE}
    return replace(
        result, classifier=replace(classifier, metadata={**metadata, **found})
    )


_OF_A_FILE = (
    "input",
    "skipped",
    "format",
    "classes",
)  # of the features, not of the checkpoint


def accuracy_at(train: FeatureSet, test: FeatureSet, strength: float) -> float:
    """Fit on train at one strength and return the accuracy on test.

    For probe accuracy over training: features of other checkpoints, the same strength.

    Raises:
        InputError: the features cannot be probed together (`read_targets`).
    """
    targets = read_targets({"train": train, "test": test})
    fitted, measured = _split(targets, train), _split(targets, test)
    fits = [fit_l1(fitted.features, y, strength) for y in fitted.columns.T]
    predicted = classifier_of(targets, fits).predict(measured.features)
    return targets.scores(measured.positions, predicted)["accuracy"]


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


def rank_units(
    effects: np.ndarray, features: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Order units by absolute effect, then by absolute difference of class means.

    Args:
        effects: float64[columns, H].
        features: float32[N, H].
        columns: {0, 1}[N, columns].

    Returns:
        int64[H], unit indices, the strongest first; equal in both: the lower index.
    """
    differences = class_differences(features, columns)
    return np.lexsort((-differences.max(axis=0), -np.abs(effects).max(axis=0)))


def _split(targets: Targets, given: FeatureSet) -> Split:
    positions = targets.positions_of(given)
    return Split(given.features, positions, targets.columns(positions))


def _scores(targets: Targets, classifier: Classifier, data: Mapping) -> dict:
    return {
        name: targets.scores(split.positions, classifier.predict(split.features))
        for name, split in data.items()
    }


def _alone(targets: Targets, units: np.ndarray, data: Mapping) -> Units:
    chosen = {n: replace(s, features=s.features[:, units]) for n, s in data.items()}
    fits = [fit_few(chosen["train"].features, y) for y in chosen["train"].columns.T]
    return _units(targets, len(units), fits, chosen)


def _without(
    targets: Targets,
    order: np.ndarray,
    nonzero: int,
    data: Mapping,
    strength: float,
    n_jobs: int,
) -> tuple[Units, ...]:
    """The ablation: leave the k strongest units out and fit the others again."""
    ks = [k for k in _DROPPED if k <= max(nonzero, 1) and k < len(order)]
    jobs = [(k, y) for k in ks for y in data["train"].columns.T]
    fits = Parallel(n_jobs=n_jobs, backend="loky")(
        delayed(_fit_others)(data["train"].features, y, strength, order[:k])
        for k, y in jobs
    )
    count = data["train"].columns.shape[1]
    return tuple(
        _units(targets, k, fits[i * count : (i + 1) * count], data)
        for i, k in enumerate(ks)
    )


def _fit_others(features, labels, strength: float, dropped: np.ndarray) -> LinearFit:
    """As wide as the features again, with zeros for the dropped units."""
    kept = np.setdiff1d(np.arange(features.shape[1]), dropped)
    fit = fit_l1(features[:, kept], labels, strength)
    weights = np.zeros(features.shape[1])
    weights[kept] = fit.weights
    return replace(fit, weights=weights)


def _units(targets: Targets, k: int, fits: Sequence[LinearFit], data: Mapping) -> Units:
    classifier = tuned(classifier_of(targets, fits), data["valid"])
    scores = _scores(targets, classifier, data)
    return Units(k, {name: value["accuracy"] for name, value in scores.items()})


def _curve_sizes(last: int) -> list[int]:
    """1, 2, 4, ... below `last`, `last` itself, and 10, which others report."""
    last = max(last, 1)
    sizes = {2**i for i in range(last.bit_length())} | {10}
    return sorted({size for size in sizes if size < last} | {last})
