"""The probe: an L1 logistic regression on features, and a ranking of their units."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from joblib import Parallel, delayed

from sdjax.features.file import FeatureSet
from sdjax.model.classifier import Classifier
from sdjax.probe.logistic import LinearFit, fit_few, fit_l1
from sdjax.probe.ranking import rank_units, separations
from sdjax.probe.sweep import (
    C_VALUES,
    SPLITS,
    Split,
    SweepPoint,
    choose_C,
    classifier_of,
    scores_of,
    sweep_C,
    tune_thresholds,
)
from sdjax.probe.targets import Targets, read_targets
from sdjax.probe.unit import TopUnit, class_differences, describe_unit

# The ablation removes this many top units; each size costs one more complete fit.
_OUTSIZED = 1e4  # times the median; cells of one model differ by less than 1e3
_DROPPED = (1, 4, 16, 64)


@dataclass(frozen=True)
class Units:
    """Accuracy with only the top k units, or with all units except them."""

    k: int
    accuracy: dict[str, float]  # by split


@dataclass(frozen=True)
class ProbeResult:
    """The result of the probe.

    `order` ranks all units (`ranking.rank_units`): first the top unit, which of those
    with a weight separates the classes best alone, then the others by effect. The
    effect of a unit is its L1 weight times the difference of its class means on train:
    how far it moves the mean scores of the two classes apart. With several columns the
    best separation and the largest absolute effect count. Ties (many effects are zero)
    are broken by the absolute difference of class means.
    """

    targets: Targets
    C: float  # inverse of the L1 penalty, chosen on valid
    sweep: tuple[SweepPoint, ...]
    classifier: Classifier  # on all units, at `C`
    effects: np.ndarray  # float64[columns, H], with the sign of the weight
    nonzero: int  # units with a weight other than zero
    order: np.ndarray  # int64[H], unit indices, the top unit first
    scores: dict[str, dict]  # of the classifier, by split (`Targets.scores`)
    top_unit: TopUnit
    class_units: tuple[TopUnit, ...]  # the top unit of each column
    top_k: tuple[Units, ...]  # fits on the k top units only
    without_top_k: tuple[Units, ...]  # fits on all other units
    majority: dict[str, float]  # accuracy of the majority class, by split
    counts: dict[str, dict[str, int]]  # texts by split and class

    @property
    def accuracy(self) -> dict[str, float]:
        """The accuracy of the classifier on all units, by split."""
        return {split: scores["accuracy"] for split, scores in self.scores.items()}

    def as_json(self) -> dict:
        """Return everything as JSON-able values; zero weights are omitted."""
        weights = self.classifier.coef
        return {
            "task": self.targets.task,
            "classes": list(self.targets.classes),
            "criterion": self.targets.criterion,
            "C": self.C,
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
    """Check that the splits belong together, and encode their labels.

    Raises:
        InputError: the splits do not belong together (`read_targets`).
    """
    features = dict(zip(SPLITS, (train, valid, test), strict=True))
    targets = read_targets(features)
    return targets, {name: _split(targets, split) for name, split in features.items()}


def outsized(features: np.ndarray) -> list[tuple[int, float]]:
    """Return the columns that vary so much more than the others that they alone count.

    An L1 penalty charges by the size of weights. A column whose values are ten thousand
    times larger needs next to none, and becomes the top unit whatever it means.

    Args:
        features: float32[N, F], as they will be fitted; nothing is scaled.

    Returns:
        (column, how many times it varies as much as the median column), the largest
        first; of columns that do not vary at all there is no median.
    """
    spread = np.std(features, axis=0, dtype=np.float64)
    if not (varying := spread[spread > 0]).size:
        return []
    ratio = spread / np.median(varying)
    found = np.flatnonzero(ratio >= _OUTSIZED)
    return [(int(c), float(ratio[c])) for c in found[np.argsort(-ratio[found])]]


def run_probe(
    train: FeatureSet,
    valid: FeatureSet,
    test: FeatureSet,
    *,
    C_values: Sequence[float] = C_VALUES,
    n_jobs: int = -1,
) -> ProbeResult:
    """Fit L1 logistic regression, choose C on valid, and rank the units.

    The features are not scaled. Everything is fitted on train. Valid chooses C (ties
    go to the smaller C, which gives the sparser model) and, for a multi-label task,
    the threshold of each label. Test is only evaluated.

    Args:
        train, valid, test: features float32[N, H] with labels, all from one checkpoint.
        C_values: candidates for C, the inverse of the weight of the L1 penalty.
        n_jobs: processes for the fits, -1 for one per core; the result does not
            depend on it.

    Returns:
        The chosen classifier, its scores, and the fits with and without the top units.

    Raises:
        InputError: the splits do not belong together (`read_targets`).

    Reference:
        Radford et al. 2017, "Learning to generate reviews and discovering sentiment",
        sections 3.3 and 4.1. They rank units by weight alone. We take the unit that
        is best alone, and rank the others by effect: a unit with a large weight can
        still be useless if it hardly varies or has the same mean in both classes.
    """
    targets, data = prepare_splits(train, valid, test)
    sweep, fitted = sweep_C(targets, data["train"], data["valid"], C_values, n_jobs)
    best = choose_C(sweep)
    C, fits = sweep[best].C, fitted[best]
    classifier = tune_thresholds(classifier_of(targets, fits), data["valid"])
    features, columns = data["train"].features, data["train"].columns
    effects = classifier.coef * class_differences(features, columns)
    order = rank_units(effects, features, columns)
    ks = _curve_sizes(sweep[best].nonzero)
    column = int(np.argmax(separations(features[:, order[:1]], columns)))
    column_units = [
        rank_units(effects[[c]], data["train"].features, y[:, None])[0]
        for c, y in enumerate(data["train"].columns.T)
    ]
    result = ProbeResult(
        targets=targets,
        C=C,
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
            for c, unit in enumerate(column_units)
        ),
        top_k=tuple(_alone(targets, order[:k], data) for k in ks),
        without_top_k=_without(targets, order, sweep[best].nonzero, data, C, n_jobs),
        majority={n: targets.majority(s.positions) for n, s in data.items()},
        counts={n: targets.counts(s.positions) for n, s in data.items()},
    )
    findings = {
        "top_unit": {
            **asdict(result.top_unit),
            "classes": list(targets.sides[column]),
        },
        "figures": {
            "scores": result.scores,
            "majority": result.majority,
            "C": C,
        },
    }
    metadata = {k: v for k, v in train.metadata.items() if k not in _FILE_KEYS}
    return replace(
        result, classifier=replace(classifier, metadata={**metadata, **findings})
    )


# These describe the features file; the classifier records only the checkpoint.
_FILE_KEYS = ("input", "skipped", "format", "classes")


def accuracy_at(train: FeatureSet, test: FeatureSet, C: float) -> float:
    """Fit on train at one C and return the accuracy on test.

    The curve of probe accuracy over training uses this with the features of earlier
    checkpoints and the C that was chosen for the last one.

    Raises:
        InputError: the splits do not belong together (`read_targets`).
    """
    targets = read_targets({"train": train, "test": test})
    train_split, test_split = _split(targets, train), _split(targets, test)
    fits = [fit_l1(train_split.features, y, C) for y in train_split.columns.T]
    predicted = classifier_of(targets, fits).predict(test_split.features)
    return targets.scores(test_split.positions, predicted)["accuracy"]


def extreme_examples(
    feature_set: FeatureSet, unit: int, sign: int, count: int = 4
) -> tuple[list[int], list[int]]:
    """Choose the texts at which a unit is most positive and most negative.

    Args:
        feature_set: features float32[N, H].
        unit: index of the unit.
        sign: +1 if larger values mean class 1, -1 if they mean class 0.
        count: rows of each kind; at most N // 2.

    Returns:
        Row indices of the most positive and of the most negative texts, the most
        extreme first. No row is in both lists.
    """
    count = min(count, len(feature_set) // 2)
    rows = np.argsort(-sign * feature_set.features[:, unit], kind="stable").tolist()
    return rows[:count], rows[::-1][:count]


def _split(targets: Targets, features: FeatureSet) -> Split:
    positions = targets.positions_of(features)
    return Split(features.features, positions, targets.columns(positions))


def _scores(targets: Targets, classifier: Classifier, data: Mapping) -> dict:
    return {name: scores_of(targets, classifier, split) for name, split in data.items()}


def _alone(targets: Targets, units: np.ndarray, data: Mapping) -> Units:
    chosen = {n: replace(s, features=s.features[:, units]) for n, s in data.items()}
    fits = [fit_few(chosen["train"].features, y) for y in chosen["train"].columns.T]
    return _units(targets, len(units), fits, chosen)


def _without(
    targets: Targets,
    order: np.ndarray,
    nonzero: int,
    data: Mapping,
    C: float,
    n_jobs: int,
) -> tuple[Units, ...]:
    """Run the ablation: remove the k top units and fit again on the rest."""
    ks = [k for k in _DROPPED if k <= max(nonzero, 1) and k < len(order)]
    jobs = [(k, y) for k in ks for y in data["train"].columns.T]
    fits = Parallel(n_jobs=n_jobs, backend="loky")(
        delayed(_fit_others)(data["train"].features, y, C, order[:k]) for k, y in jobs
    )
    count = data["train"].columns.shape[1]
    return tuple(
        _units(targets, k, fits[i * count : (i + 1) * count], data)
        for i, k in enumerate(ks)
    )


def _fit_others(features, labels, C: float, dropped: np.ndarray) -> LinearFit:
    """Fit without the dropped units; they get weight zero in the result."""
    kept = np.setdiff1d(np.arange(features.shape[1]), dropped)
    fit = fit_l1(features[:, kept], labels, C)
    weights = np.zeros(features.shape[1])
    weights[kept] = fit.weights
    return replace(fit, weights=weights)


def _units(targets: Targets, k: int, fits: Sequence[LinearFit], data: Mapping) -> Units:
    classifier = tune_thresholds(classifier_of(targets, fits), data["valid"])
    scores = _scores(targets, classifier, data)
    return Units(k, {name: value["accuracy"] for name, value in scores.items()})


def _curve_sizes(last: int) -> list[int]:
    """Return 1, 2, 4, ... and 10 (which papers report) below `last`, and `last`."""
    last = max(last, 1)
    sizes = {2**i for i in range(last.bit_length())} | {10}
    return sorted({size for size in sizes if size < last} | {last})
