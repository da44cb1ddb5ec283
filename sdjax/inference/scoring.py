"""Scoring texts with a saved classifier: probabilities and the top unit's value."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from sdjax.checkpoints.load import Loaded
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.features.columns import feature_of, top_unit_name
from sdjax.features.featurizer import TextFeaturizer, check_texts, options_of
from sdjax.features.trace import TracedText
from sdjax.integrity import array_digest
from sdjax.model.classifier import Classifier
from sdjax.report.coloured_text import Explained, Scale, page
from sdjax.terminal import printable


class Score(NamedTuple):
    """The prediction for one text.

    probabilities: by class; for two classes only that of the second.
    called: the predicted class; for a multi-label task all labels that apply.
    unit: value of the top unit after the last byte; None if the classifier names none.
    """

    text: str
    probabilities: dict[str, float]
    called: tuple[str, ...]
    unit: float | None


class Scorer:
    """A classifier and the language model that computes its features.

    Args:
        classifier: as loaded.
        loaded: the language model.
        batch_size: texts to featurize at once.

    Raises:
        InputError: the classifier was fitted on another model's features.
    """

    def __init__(self, classifier: Classifier, loaded: Loaded, *, batch_size: int = 64):
        self._featurizer = TextFeaturizer.from_loaded(
            loaded, batch_size=batch_size, **options_of(classifier.metadata)
        )
        classifier.check_source(self._featurizer.metadata(), loaded.path)
        self.classifier = classifier
        top = classifier.metadata.get("top_unit")
        self._column = top["index"] if top else None
        self.unit = top_unit_name(classifier)

    def score(self, texts: Iterable[str], progress: bool = False) -> list[Score]:
        """Score each text; return the scores in the order of the texts.

        Args:
            texts: as `TextFeaturizer.transform` takes them.
            progress: show a progress bar.
        """
        texts = check_texts(texts)
        self._featurizer.progress = progress
        return self.judge(texts, self._featurizer.transform(texts))

    def judge(self, texts: Sequence[str], features: np.ndarray) -> list[Score]:
        """Score texts whose features, float32[N, F], are known."""
        probabilities = self.classifier.predict_proba(features)
        names = self.classifier.classes[-probabilities.shape[1] :]
        called = self._called(self.classifier.decide(probabilities))
        units = [None] * len(texts)
        if self._column is not None:
            units = features[:, self._column].tolist()
        by_class = (dict(zip(names, p, strict=True)) for p in probabilities.tolist())
        return list(map(Score, texts, by_class, called, units))

    def _called(self, predicted: np.ndarray) -> list[tuple[str, ...]]:
        names = np.array(self.classifier.classes)
        if self.classifier.task == "multilabel":
            return [tuple(names[row == 1].tolist()) for row in predicted]
        return [(name,) for name in names[predicted].tolist()]

    def columns(self, features: np.ndarray) -> dict[str, np.ndarray | pa.Array]:
        """Return what a table gets of features float32[N, F], N values by name.

        They are the probability of each class (of two that of the second), what the
        text is called (labels that apply with "|" between), and the top unit.
        """
        probabilities = self.classifier.predict_proba(features)
        names = self.classifier.classes[-probabilities.shape[1] :]
        called = self._called(self.classifier.decide(probabilities))
        columns = {f"p_{n}": p for n, p in zip(names, probabilities.T, strict=True)}
        columns["called"] = pa.array(map("|".join, called), pa.string())
        if top := self.classifier.metadata.get("top_unit"):
            name = self._featurizer.get_feature_names_out()[top["index"]]
            columns[str(name)] = features[:, top["index"]]
        return columns

    @property
    def identity(self) -> dict:
        """What tells this classifier and its model from others, JSON-able."""
        classifier = self.classifier
        arrays = classifier.coef, classifier.intercept, classifier.thresholds
        return {
            **self._featurizer.identity(),
            "classifier": [classifier.classes, *map(array_digest, arrays)],
        }

    @property
    def featurizer(self) -> TextFeaturizer:
        """What makes the features."""
        return self._featurizer

    @property
    def classes(self) -> tuple[str, ...]:
        """What a text may be called."""
        return self.classifier.classes

    def table(self, scores: Sequence[Score]) -> str:
        """Return scores as a table, a line for each text."""
        return table(self.classifier, scores)

    def verdict(self, score: Score) -> str:
        """Return a score in one line, without the text."""
        return verdict(self.unit, score)

    def page(self, explained: Sequence[Explained]) -> str:
        """Return an HTML page of texts coloured by the top unit."""
        return page(self.classifier, explained)

    @property
    def normalisation(self) -> Normalisation:
        """The normalisation that is applied to each text."""
        return self._featurizer.normalisation

    @property
    def scale(self) -> Scale:
        """The colour scale of the top unit."""
        return Scale.of(top_unit(self.classifier))

    def trace(self, text: str) -> TracedText:
        """Trace the top unit through a text, byte by byte."""
        normalisation = self.normalisation
        unit, state = unit_and_state(self.classifier)
        return TracedText(
            normalisation.shown(normalisation.encode(text)),
            self._featurizer.trace(text, [unit], state)[:, 0],
        )


def top_unit(classifier: Classifier) -> dict:
    """Return the classifier's top unit: index, sign, threshold, quantiles by class.

    Raises:
        InputError: it names none, or it reads pooled states.
    """
    top = classifier.metadata.get("top_unit")
    if not top:
        raise InputError(
            f"this {classifier.task} classifier names no top unit: use one that sdjax"
            " probe or finetune wrote, or give a unit's number"
        )
    missing = [key for key in ("sign", "threshold", "quantiles") if key not in top]
    if missing:
        raise InputError(
            f"this classifier does not say the {', '.join(missing)} of its top unit:"
            " use one that sdjax probe or finetune wrote"
        )
    pooling = _feature(classifier, top["index"])[2]
    if pooling != "last":
        raise InputError(
            f"this classifier reads the {pooling} over each text, not the value of a"
            " unit at one byte: use a classifier with pooling last"
        )
    return top


def unit_and_state(classifier: Classifier) -> tuple[int, str]:
    """Return which unit the top unit is, and of which state; raises as `top_unit`.

    The unit is numbered within the last layer, or through the state of all layers.
    """
    unit, state, _ = _feature(classifier, top_unit(classifier)["index"])
    return unit, state


def _feature(classifier: Classifier, column: int) -> tuple[int, str, str]:
    metadata = classifier.metadata
    state, pooling = metadata.get("state", "cell"), metadata.get("pooling", "last")
    return feature_of(column, classifier.coef.shape[1], state, pooling)


def sides(classifier: Classifier) -> tuple[str, str]:
    """Return the names of the two sides of the top unit, the negative one first."""
    first, second = top_unit(classifier).get("classes", classifier.classes)
    return first, second


def verdict(unit: str | None, score: Score) -> str:
    """Return the prediction and the value of the unit in one line, without the text."""
    probabilities = score.probabilities.items()
    parts = [f"p({printable(name)}) = {p:.3f}" for name, p in probabilities]
    line = f"{_named(score)}: {', '.join(parts)}"
    return line if score.unit is None else f"{line}, unit {unit} at {score.unit:+.2f}"


def table(classifier: Classifier, scores: Sequence[Score]) -> str:
    """Return scores as a table: probabilities, predicted class, unit value, text."""
    names = [printable(n) for n in classifier.classes[-len(classifier.thresholds) :]]
    called = max(6, *map(len, classifier.classes))
    unit = top_unit_name(classifier)
    heads = [*(f"p({name})" for name in names), "called".ljust(called)]
    heads += [] if unit is None else [f"unit {unit}"]
    lines = ["  ".join([*heads, "text"])]
    for score in scores:
        cells = [
            *(f"{p:.4f}" for p in score.probabilities.values()),
            _named(score).ljust(called),
        ]
        cells += [] if unit is None else [f"{score.unit:+.2f}"]
        padded = (c.rjust(len(h)) for c, h in zip(cells, heads, strict=True))
        lines.append("  ".join([*padded, printable(score.text)]))
    return "\n".join(lines)


def _named(score: Score) -> str:
    return printable(", ".join(score.called)) or "none"
