"""Label efficiency: test accuracy against the number of labelled training texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from joblib import Parallel, delayed
from scipy.sparse import csr_matrix

from sdjax.probe import bag_of_words
from sdjax.probe.logistic import fit_few, fit_l1
from sdjax.probe.sweep import C_VALUES, Split, classifier_of
from sdjax.probe.targets import Targets

# These settings cost a tenth of those of the full sweep. On SST (512 units, 3,000
# texts) the looser tolerance alone makes fitting five times faster and changes test
# accuracy by 0.1 to 0.4 points, which is less than the spread between draws.
_C_VALUES = C_VALUES[::2]
_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Point:
    """The test accuracies with `texts` labelled texts, one for each draw."""

    texts: int
    accuracy: tuple[float, ...]


@dataclass(frozen=True)
class Efficiency:
    """One curve per kind of classifier: all units, top unit, bag of words."""

    curves: dict[str, tuple[Point, ...]]
    draws: int
    seed: int

    def as_json(self) -> dict:
        return asdict(self)


def data_efficiency(
    targets: Targets,
    data: Mapping[str, Split],
    unit: int,
    full_accuracy: float,
    *,
    counts: Mapping[str, csr_matrix] | None = None,
    draws: int = 5,
    seed: int = 0,
    n_jobs: int = -1,
) -> Efficiency:
    """Fit on 10, 30, 100, ... labelled texts of train, and evaluate on test.

    A draw is a random order of train whose every prefix is stratified by class. So the
    10 texts of a draw are among its 30. At each size C is chosen on valid by the mean
    score over the draws. With all texts there is only one draw.

    Args:
        targets: the task.
        data: train, valid and test.
        unit: the top unit. It was found with all labels, so its curve shows how many
            labels it takes to calibrate the unit, not to find it.
        full_accuracy: test accuracy of all units with all texts, already known.
        counts: word counts by split; if given, a bag-of-words curve is added.
        draws: random draws per size.
        seed: of the draws.
        n_jobs: processes, -1 for one per core; the result does not depend on it.

    Reference: Radford et al. 2017, section 4.2 and figure 2.
    """
    count = len(data["train"].positions)
    orders = [
        stratified_order(data["train"].positions, np.random.default_rng([seed, draw]))
        for draw in range(draws)
    ]
    sizes = [size for size in sizes_up_to(count) if size >= len(targets.classes)]
    kinds: dict[str, tuple[Callable, tuple]] = {
        "all units": (_all_units, (targets, data)),
        "top unit": (_one_unit, (targets, _only(data, unit))),
    }
    if counts is not None:
        kinds["bag of words"] = (_words, (targets, data, counts))
    jobs = [
        (kind, size, draw)
        for size in reversed(sizes)  # the slowest jobs first
        for kind in kinds
        for draw in range(draws if size < count else kind != "all units")
    ]
    results = Parallel(n_jobs=n_jobs, backend="loky")(
        delayed(kinds[kind][0])(*kinds[kind][1], orders[draw][:size])
        for kind, size, draw in jobs
    )
    by_size: dict = {("all units", count): [[(1.0, full_accuracy)]]}
    for (kind, size, _), result in zip(jobs, results, strict=True):
        by_size.setdefault((kind, size), []).append(result)
    curves = {
        kind: tuple(Point(n, _best(by_size[kind, n])) for n in sizes) for kind in kinds
    }
    return Efficiency(curves, draws, seed)


def sizes_up_to(count: int) -> list[int]:
    """Return 10, 30, 100, 300, ... below `count`, and `count` itself."""
    sizes = [base * 10**power for power in range(1, 10) for base in (1, 3)]
    return [size for size in sizes if size < count] + [count]


def stratified_order(positions: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Shuffle rows so that every prefix of the order is stratified by label.

    Args:
        positions: class indices int64[N], or multi-label int64[N, K], where each
            combination of labels counts as a class of its own.
        random: shuffles within each class.

    Returns:
        int64[N], row numbers; the order begins with one row of each class.
    """
    label = np.unique(positions, axis=0, return_inverse=True)[1].ravel()
    place = np.empty(len(label))
    for value in range(label.max() + 1):
        rows = np.flatnonzero(label == value)
        # Space the rows of a label evenly. The random offset keeps any one label from
        # always coming first.
        spaced = (np.arange(len(rows)) + random.random()) / len(rows)
        shuffled = random.permutation(rows)
        place[shuffled] = spaced
        place[shuffled[0]] -= 1.0
    return np.argsort(place, kind="stable")


def _best(draws: Sequence[list[tuple[float, float]]]) -> tuple[float, ...]:
    """Choose the C of best mean valid score; return each draw's test accuracy there.

    Args:
        draws: for each draw and C: (score on valid, accuracy on test).
    """
    pairs = np.array(draws)
    best = int(np.argmax(pairs[:, :, 0].mean(axis=0)))
    return tuple(pairs[:, best, 1].tolist())


def _all_units(targets: Targets, data: Mapping, rows: np.ndarray) -> list:
    train = data["train"].features[rows]
    columns = data["train"].columns[rows].T
    return [
        _evaluate(targets, data, [fit_l1(train, y, C, _TOLERANCE) for y in columns])
        for C in _C_VALUES
    ]


def _one_unit(targets: Targets, data: Mapping, rows: np.ndarray) -> list:
    train, columns = data["train"].features[rows], data["train"].columns[rows].T
    return [_evaluate(targets, data, [fit_few(train, y) for y in columns])]


def _words(targets: Targets, data: Mapping, counts: Mapping, rows: np.ndarray) -> list:
    by_C = bag_of_words.fit_words(targets, data, counts, rows)
    return [(s["valid"][targets.criterion], s["test"]["accuracy"]) for s in by_C]


def _evaluate(targets: Targets, data: Mapping, fits: Sequence) -> tuple[float, float]:
    """Return the score on valid by the criterion, and the accuracy on test."""
    classifier = classifier_of(targets, fits)
    scores = {
        name: targets.choice_scores(
            data[name].positions, classifier.predict(data[name].features)
        )
        for name in ("valid", "test")
    }
    return scores["valid"][targets.criterion], scores["test"]["accuracy"]


def _only(data: Mapping[str, Split], unit: int) -> dict[str, Split]:
    return {
        name: Split(split.features[:, [unit]], split.positions, split.columns)
        for name, split in data.items()
    }
