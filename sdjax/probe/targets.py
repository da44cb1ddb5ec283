"""The task, inferred from the labels: binary, multi-class or multi-label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn import metrics

from sdjax.errors import InputError
from sdjax.features.file import FeatureSet

MAX_CLASSES = 100
_MIN_TRAIN_TEXTS = 2  # texts that each class needs in the training split
_CHECKPOINT_KEYS = ("checkpoint", "step")
_SOURCE_KEYS = ("params_sha256", "state", "layers", "pooling", "normalisation")


@dataclass(frozen=True)
class Targets:
    """The task and its classes, and the encodings of labels.

    Labels have two encodings. `positions` are indices into `classes`, int64[N]; for
    `multilabel` they are {0, 1} per class, int64[N, K]. `columns` are the binary
    targets of the linear classifiers: one column for `binary`, else one per class
    (one against the rest).

    Args:
        task: binary, multiclass or multilabel.
        classes: their names; the second of two is the positive one.
        values: float64, the number that stands for each class; None for `multilabel`.
        named: what labels 0, 1, ... are called where they are words, else ().
    """

    task: str
    classes: tuple[str, ...]
    values: np.ndarray | None = None
    named: tuple[str, ...] = ()

    @property
    def criterion(self) -> str:
        """The score that choices on valid maximise.

        Exact-match accuracy of several labels is too coarse to choose by.
        """
        return "f1_macro" if self.task == "multilabel" else "accuracy"

    @property
    def sides(self) -> tuple[tuple[str, str], ...]:
        """The names of the two sides, 0 and 1, of each column."""
        if self.task == "binary":
            return ((self.classes[0], self.classes[1]),)
        return tuple((f"not {name}", name) for name in self.classes)

    def labels(self, split: FeatureSet) -> np.ndarray:
        """Return the labels of a split, by the numbers that these targets go by.

        Words that were numbered in another order, or are other words, are renumbered by
        their names; a name that is not among these gets a number above them.

        Returns:
            float[N] or float[N, K].

        Raises:
            InputError: labels are words on one side and numbers on the other.
        """
        labels = labels_of(split)
        names = _names(split)
        if names == self.named or self.task == "multilabel":
            return labels
        if not names or not self.named:
            words = names or self.named
            raise InputError(
                f"labels are words ({', '.join(words)}) in one split and numbers in "
                f"another; give all of them --classes {','.join(words)} or --label-map"
            )
        every = [*self.named, *(name for name in names if name not in self.named)]
        numbers = np.array([every.index(name) for name in names], labels.dtype)
        known = labels >= 0
        renumbered = labels.copy()
        renumbered[known] = numbers[labels[known].astype(int)]
        return renumbered

    def positions_of(self, split: FeatureSet) -> np.ndarray:
        """Return the labels of a split as positions, int64[N] or int64[N, K]."""
        return self.positions(self.labels(split))

    def positions(self, labels: np.ndarray) -> np.ndarray:
        """Turn labels of the input, float[N] or float[N, K], into class indices."""
        if self.values is None:
            return np.asarray(labels).astype(np.int64)
        return np.searchsorted(self.values, labels)

    def columns(self, positions: np.ndarray) -> np.ndarray:
        """Turn class indices into binary targets: {0, 1}, int64[N, columns]."""
        if self.task == "multilabel":
            return positions
        if self.task == "binary":
            return positions[:, None]
        return (positions[:, None] == np.arange(len(self.classes))).astype(np.int64)

    def names(self, position: np.ndarray) -> str:
        """Name the label of one text."""
        if self.task != "multilabel":
            return self.classes[int(position)]
        chosen = [c for c, on in zip(self.classes, position, strict=True) if on]
        return ", ".join(chosen) or "none"

    def choice_scores(self, true: np.ndarray, predicted: np.ndarray) -> dict:
        """Score predicted class indices by what choices are made by.

        A probe asks for these thousands of times, so they leave out the rest.

        Returns:
            accuracy (for `multilabel`, the share of texts with every label right) and
            f1_macro.
        """
        accuracy = float(metrics.accuracy_score(true, predicted))
        f1 = metrics.f1_score(true, predicted, **self._by_class())
        return {"accuracy": accuracy, "f1_macro": float(np.mean(f1))}

    def scores(self, true: np.ndarray, predicted: np.ndarray) -> dict:
        """Score predicted class indices against the true ones.

        Returns:
            As `choice_scores`; f1 (by class), jaccard (mean over classes) and matthews
            (for `multilabel`, the mean over classes).
        """
        f1 = metrics.f1_score(true, predicted, **self._by_class())
        jaccard = metrics.jaccard_score(true, predicted, **self._by_class())
        pairs = [(true, predicted)]
        if self.task == "multilabel":
            pairs = list(zip(true.T, predicted.T, strict=True))
        matthews = [metrics.matthews_corrcoef(*pair) for pair in pairs]
        return {
            **self.choice_scores(true, predicted),
            "jaccard": float(np.mean(jaccard)),
            "matthews": float(np.mean(matthews)),
            "f1": dict(zip(self.classes, map(float, f1), strict=True)),
        }

    def _by_class(self) -> dict:
        """Return scikit-learn's arguments for a score of each class."""
        average = {"average": None, "zero_division": 0.0}
        if self.task != "multilabel":
            average["labels"] = np.arange(len(self.classes))
        return average

    def counts(self, positions: np.ndarray) -> dict[str, int]:
        """Count the texts of each class."""
        if self.task == "multilabel":
            counts = positions.sum(axis=0)
        else:
            counts = np.bincount(positions, minlength=len(self.classes))
        return dict(zip(self.classes, map(int, counts), strict=True))

    def majority(self, positions: np.ndarray) -> float:
        """Return the accuracy of always predicting the most frequent label."""
        counts = np.unique(positions, axis=0, return_counts=True)[1]
        return float(counts.max() / len(positions))


def read_targets(splits: Mapping[str, FeatureSet]) -> Targets:
    """Infer the task from the labels, and check that the splits belong together.

    One column of labels with two values is binary, with more values multi-class.
    Several columns of 0 and 1 are multi-label.

    Args:
        splits: by name; the first is the training split.

    Raises:
        InputError: names the split, what is wrong with it and the fix.
    """
    _check_origin(splits)
    for name, split in splits.items():
        _check_labelled(name, split)
    first_name, first = next(iter(splits.items()))
    labels = np.asarray(first.labels)
    if labels.ndim == 2 and labels.shape[1] > 1:
        targets = _multilabel(first)
    else:
        targets = _classes(first_name, labels.ravel(), _names(first))
    for name, split in splits.items():
        _check_classes(
            name, split, targets, minimum=_MIN_TRAIN_TEXTS if split is first else 1
        )
    return targets


def labels_of(split: FeatureSet) -> np.ndarray:
    """Return the labels as float[N], also if stored as one column [N, 1], or [N, K]."""
    labels = np.asarray(split.labels)
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _names(split: FeatureSet) -> tuple[str, ...]:
    """What labels 0, 1, ... of a split are called; () where they are numbers."""
    return tuple(split.metadata.get("classes") or ())


def _check_origin(splits: Mapping[str, FeatureSet]) -> None:
    """Refuse features of different models, and of an untrained or diverged one."""
    first_name, first = next(iter(splits.items()))
    for name, split in splits.items():
        width, expected = split.features.shape[1], first.features.shape[1]
        if width != expected:
            raise InputError(
                f"{name}: {width} features per text, {first_name} has {expected}; "
                "featurize both with one checkpoint"
            )
        # The hash of the parameters identifies a checkpoint even if its folder moved.
        known = all(s.metadata.get("params_sha256") for s in (split, first))
        for key in _SOURCE_KEYS if known else (*_CHECKPOINT_KEYS, *_SOURCE_KEYS):
            found, wanted = split.metadata.get(key), first.metadata.get(key)
            if found != wanted:
                raise InputError(
                    f"{name}: features have {key} {found!r}, {first_name} has "
                    f"{wanted!r}; featurize both with one checkpoint"
                )
        for row, values in enumerate(split.features):
            if not np.isfinite(values).all():
                raise InputError(
                    f"{name}: features of row {row} are not finite; "
                    "did training of this checkpoint diverge?"
                )
    if len(first) and not np.any(np.ptp(first.features, axis=0)):
        raise InputError(
            f"{first_name}: the features are the same for every text; "
            "is this checkpoint untrained?"
        )


def _check_labelled(name: str, split: FeatureSet) -> None:
    if split.labels is None or not len(split):
        what = "no texts" if not len(split) else "no labels"
        raise InputError(f"{name}: {what}; featurize labelled texts with --label-key")
    labels = np.asarray(split.labels)
    missing = np.flatnonzero(np.isnan(labels.reshape(len(labels), -1)).any(axis=1))
    if len(missing):
        raise InputError(
            f"{name}: no label in row {missing[0]} ({len(missing)} of {len(split)} "
            "rows); featurize texts that are all labelled"
        )


def _multilabel(first: FeatureSet) -> Targets:
    count = first.labels.shape[1]
    keys = first.metadata.get("label_keys") or first.metadata.get("label_key")
    if not isinstance(keys, list) or len(set(map(str, keys))) != count:
        keys = [f"label {i}" for i in range(count)]
    return Targets("multilabel", tuple(map(str, keys)))


def _classes(name: str, labels: np.ndarray, named: tuple[str, ...]) -> Targets:
    values = np.unique(labels).astype(np.float64)
    if len(values) < 2:
        raise InputError(
            f"{name}: every label is {_listed(values, named)}; the probe needs texts"
            " of at least two classes"
        )
    if named and values[0] >= 0:
        classes = tuple(named[int(value)] for value in values)
        task = "binary" if len(values) == 2 else "multiclass"
        return Targets(task, classes, values, named)
    if len(values) > MAX_CLASSES:
        raise InputError(
            f"{name}: {len(values):,} different labels are more than the "
            f"{MAX_CLASSES} classes allowed; map them to fewer in the input and "
            "featurize again"
        )
    if len(values) == 2:
        signs = values.tolist() in ([0, 1], [-1, 1])
        classes = ("negative", "positive") if signs else _shown(values)
        return Targets("binary", classes, values)
    if not np.all(values == np.round(values)):
        raise InputError(
            f"{name}: labels of several classes must be whole numbers, but there are "
            f"{_listed(values)}; map them in the input and featurize again"
        )
    return Targets("multiclass", _shown(values), values)


def _check_classes(
    name: str, split: FeatureSet, targets: Targets, minimum: int
) -> None:
    """Refuse a split that lacks a class of the first split, or has another one."""
    labels = targets.labels(split)
    wanted, named = targets.values, [*targets.named]
    named += [word for word in _names(split) if word not in named]
    if targets.task == "multilabel":
        if labels.ndim != 2 or labels.shape[1] != len(targets.classes):
            raise InputError(
                f"{name}: labels of shape {labels.shape}, {len(targets.classes)} "
                "columns are needed; featurize all splits with the same label keys"
            )
        wanted = np.array([0.0, 1.0])
    elif labels.ndim != 1:
        raise InputError(
            f"{name}: labels in {labels.shape[1]} columns, one is needed; featurize "
            "all splits with the same label key"
        )
    other = np.setdiff1d(labels, wanted)
    if len(other):
        kinds = "0 or 1" if targets.task == "multilabel" else _listed(wanted, named)
        raise InputError(
            f"{name}: labels must be {kinds} as in the first split, but there are "
            f"{_listed(other, named)}; map them in the input and featurize again"
        )
    columns = targets.columns(targets.positions(labels))
    for sums, sides in zip(columns.sum(axis=0), targets.sides, strict=True):
        for count, side in zip((len(columns) - sums, sums), sides, strict=True):
            if count < minimum:
                raise InputError(
                    f"{name}: {count} texts are labelled {side!r}, at least {minimum} "
                    f"{'is' if minimum == 1 else 'are'} needed; label more texts or "
                    "remove the class"
                )


def _shown(values: np.ndarray) -> tuple[str, ...]:
    return tuple(f"{value:.9g}" for value in values)


def _listed(values: np.ndarray, named: Sequence[str] = ()) -> str:
    shown = (named[int(v)] if v in range(len(named)) else f"{v:g}" for v in values[:8])
    return ", ".join(shown) + (", ..." if len(values) > 8 else "")
