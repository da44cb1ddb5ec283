"""The classifier head on its own: first fit, loss, thresholds."""

from dataclasses import replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from sdjax.model.classifier import Classifier
from sdjax.probe.sweep import Split, tune_thresholds

_C_VALUES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # inverse L2 penalties to choose from


def first_head(
    train: np.ndarray,
    targets: np.ndarray,
    valid: np.ndarray,
    valid_targets: np.ndarray,
    link: str,
) -> dict:
    """Fit logistic regression at several C; return the fit of lowest loss on valid.

    Args:
        train, valid: standardised features float32[N, F].
        targets, valid_targets: {0, 1}, int64[N, K]; one-hot for "softmax".
        link: "sigmoid" or "softmax".

    Returns:
        {"coef": float32[K, F], "intercept": float32[K]}.
    """
    fits = []
    for C in _C_VALUES:
        model = LogisticRegression(C=C, max_iter=1000)
        if link == "softmax":
            model.fit(train, targets.argmax(axis=1))
            parts = [(model.coef_, model.intercept_)]
        else:
            columns = (model.fit(train, y) for y in targets.T)
            parts = [(fit.coef_, fit.intercept_) for fit in columns]
        coef, intercept = map(np.concatenate, zip(*parts, strict=True))
        loss = _cross_entropy(valid @ coef.T + intercept, valid_targets, link)
        fits.append((loss, coef, intercept))
    _, coef, intercept = min(fits, key=lambda fit: fit[0])
    return {"coef": coef.astype("f4"), "intercept": intercept.astype("f4")}


def _cross_entropy(scores: np.ndarray, targets: np.ndarray, link: str) -> float:
    """Return nats per text, the mean of `step.head_loss`."""
    if link == "softmax":
        true = scores[targets == 1]
        return float(np.mean(np.logaddexp.reduce(scores, axis=1) - true))
    return float(np.mean((np.logaddexp(0, scores) - targets * scores).sum(axis=1)))


def log_loss(classifier: Classifier, split: Split) -> float:
    """Return the loss of the head on a split, in nats per text."""
    scores = split.features @ classifier.coef.T + classifier.intercept
    return _cross_entropy(scores, split.columns, classifier.link)


def with_thresholds(classifier: Classifier, valid: Split) -> Classifier:
    """Return the classifier with thresholds chosen on valid.

    They maximise accuracy for two classes and F1 for several labels; a multi-class
    classifier is returned unchanged.
    """
    if classifier.task != "binary":
        return tune_thresholds(classifier, valid)
    probabilities = classifier.predict_proba(valid.features)[:, 0]
    order = np.argsort(probabilities)
    ranked, positive = probabilities[order], valid.positions[order] == 1
    # A threshold after index i predicts negative up to i and positive beyond it.
    correct = np.cumsum(~positive) + positive.sum() - np.cumsum(positive)
    places = np.flatnonzero(np.diff(ranked) > 0)
    middles = (ranked[places] + ranked[places + 1]) / 2
    cuts = np.concatenate([[0.5], middles])
    scores = np.concatenate([[np.sum((ranked > 0.5) == positive)], correct[places]])
    # Ties go to the threshold nearest to 0.5.
    best = np.lexsort((np.abs(cuts - 0.5), -scores))[0]
    return replace(classifier, thresholds=cuts[[best]])
