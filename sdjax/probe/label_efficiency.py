"""Accuracy against the number of labelled texts, over several draws of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from joblib import Parallel, delayed
from scipy.sparse import csr_matrix

from sdjax.probe import bag_of_words
from sdjax.probe.logistic import fit_few, fit_l1
from sdjax.probe.sweep import STRENGTHS, Split, classifier_of
from sdjax.probe.targets import Targets

# A tenth of the work of the sweep's own settings. On SST (512 units, 3,000 texts) the
# looser tolerance alone is five times faster and moves test accuracy by 0.1 to 0.4
# points, less than the draws do.
_STRENGTHS = STRENGTHS[::2]
_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Point:
    """Test accuracy with `texts` labelled texts, once for each draw of them."""

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
    reached: float,
    *,
    counts: Mapping[str, csr_matrix] | None = None,
    draws: int = 5,
    seed: int = 0,
    n_jobs: int = -1,
) -> Efficiency:
    """Fit on 10, 30, 100, ... of the labelled texts of train, and measure on test.

    A draw is an order of train in which any beginning has the classes in their
    proportions, so the 10 texts of a draw are among its 30. At each size the strength
    is chosen on valid by the mean over the draws. With all texts there is one draw.

    Args:
        targets: the task.
        data: train, valid and test.
        unit: the top unit, found with all labels; its curve says how few labels it
            needs to be read, not to be found.
        reached: test accuracy of all units with all texts, which is known already.
        counts: of words, by split; with them a curve of the bag of words is added.
        draws: how often each size is drawn.
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
        for size in reversed(sizes)  # the longest first
        for kind in kinds
        for draw in range(draws if size < count else kind != "all units")
    ]
    found = Parallel(n_jobs=n_jobs, backend="loky")(
        delayed(kinds[kind][0])(*kinds[kind][1], orders[draw][:size])
        for kind, size, draw in jobs
    )
    by_size: dict = {("all units", count): [[(1.0, reached)]]}
    for (kind, size, _), measured in zip(jobs, found, strict=True):
        by_size.setdefault((kind, size), []).append(measured)
    curves = {
        kind: tuple(Point(n, _best(by_size[kind, n])) for n in sizes) for kind in kinds
    }
    return Efficiency(curves, draws, seed)


def sizes_up_to(count: int) -> list[int]:
    """10, 30, 100, 300, ... below `count`, and `count` itself."""
    sizes = [base * 10**power for power in range(1, 10) for base in (1, 3)]
    return [size for size in sizes if size < count] + [count]


def stratified_order(positions: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Order rows so that any beginning has the labels in their proportions.

    Args:
        positions: int64[N], or int64[N, K] of several labels at once, where each
            combination counts as a label.
        random: shuffles within each label.

    Returns:
        int64[N], rows; one of each label comes first.
    """
    label = np.unique(positions, axis=0, return_inverse=True)[1].ravel()
    place = np.empty(len(label))
    for value in range(label.max() + 1):
        rows = np.flatnonzero(label == value)
        # Evenly spaced, and shifted by chance so that no label is always ahead.
        spaced = (np.arange(len(rows)) + random.random()) / len(rows)
        shuffled = random.permutation(rows)
        place[shuffled] = spaced
        place[shuffled[0]] -= 1.0
    return np.argsort(place, kind="stable")


def _best(measured: Sequence[list[tuple[float, float]]]) -> tuple[float, ...]:
    """Test accuracy of each draw at the strength of the best mean on valid.

    Args:
        measured: for each draw (score on valid, accuracy on test) by strength.
    """
    pairs = np.array(measured)
    best = int(np.argmax(pairs[:, :, 0].mean(axis=0)))
    return tuple(pairs[:, best, 1].tolist())


def _all_units(targets: Targets, data: Mapping, rows: np.ndarray) -> list:
    train = data["train"].features[rows]
    columns = data["train"].columns[rows].T
    return [
        _measure(
            targets, data, [fit_l1(train, y, strength, _TOLERANCE) for y in columns]
        )
        for strength in _STRENGTHS
    ]


def _one_unit(targets: Targets, data: Mapping, rows: np.ndarray) -> list:
    train, columns = data["train"].features[rows], data["train"].columns[rows].T
    return [_measure(targets, data, [fit_few(train, y) for y in columns])]


def _words(targets: Targets, data: Mapping, counts: Mapping, rows: np.ndarray) -> list:
    found = bag_of_words.fit_words(targets, data, counts, rows)
    return [(s["valid"][targets.criterion], s["test"]["accuracy"]) for s in found]


def _measure(targets: Targets, data: Mapping, fits: Sequence) -> tuple[float, float]:
    """Score on valid by the criterion, and accuracy on test."""
    classifier = classifier_of(targets, fits)
    scores = {
        name: targets.scores(
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
