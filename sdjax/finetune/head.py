"""The head of a classifier alone: its first fit, its loss, its thresholds."""

from dataclasses import replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from sdjax.model.classifier import Classifier
from sdjax.probe.sweep import Split, tuned

_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # inverse L2 penalties


def first_head(
    train: np.ndarray,
    goals: np.ndarray,
    valid: np.ndarray,
    valid_goals: np.ndarray,
    link: str,
) -> dict:
    """Fit logistic regression at a few strengths; keep what valid finds likeliest.

    Args:
        train, valid: standardised features float32[N, F].
        goals, valid_goals: {0, 1}, int64[N, K].
        link: "sigmoid" or "softmax".

    Returns:
        {"coef": float32[K, F], "intercept": float32[K]}.
    """
    fits = []
    for strength in _STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=1000)
        if link == "softmax":
            model.fit(train, goals.argmax(axis=1))
            parts = [(model.coef_, model.intercept_)]
        else:
            parts = [
                (m.coef_, m.intercept_) for m in (model.fit(train, y) for y in goals.T)
            ]
        coef, intercept = map(np.concatenate, zip(*parts, strict=True))
        loss = _cross_entropy(valid @ coef.T + intercept, valid_goals, link)
        fits.append((loss, coef, intercept))
    _, coef, intercept = min(fits, key=lambda fit: fit[0])
    return {"coef": coef.astype("f4"), "intercept": intercept.astype("f4")}


def _cross_entropy(scores: np.ndarray, goals: np.ndarray, link: str) -> float:
    """Nats per text, as `headstep.head_loss`."""
    if link == "softmax":
        return float(np.mean(np.logaddexp.reduce(scores, axis=1) - scores[goals == 1]))
    return float(np.mean((np.logaddexp(0, scores) - goals * scores).sum(axis=1)))


def log_loss(classifier: Classifier, split: Split) -> float:
    """Return the head's loss on a split, nats per text."""
    scores = split.features @ classifier.coef.T + classifier.intercept
    return _cross_entropy(scores, split.columns, classifier.link)


def with_thresholds(classifier: Classifier, valid: Split) -> Classifier:
    """Choose thresholds on valid: of best accuracy for two classes, F1 for labels."""
    if classifier.task != "binary":
        return tuned(classifier, valid)
    probabilities = classifier.predict_proba(valid.features)[:, 0]
    order = np.argsort(probabilities)
    ranked, positive = probabilities[order], valid.positions[order] == 1
    # A cut behind place i calls what comes before it negative, the rest positive.
    right = np.cumsum(~positive) + positive.sum() - np.cumsum(positive)
    places = np.flatnonzero(np.diff(ranked) > 0)
    middles = (ranked[places] + ranked[places + 1]) / 2
    cuts = np.concatenate([[0.5], middles])
    scores = np.concatenate([[np.sum((ranked > 0.5) == positive)], right[places]])
    best = np.lexsort((np.abs(cuts - 0.5), -scores))[0]  # of equal ones nearest 1/2
    return replace(classifier, thresholds=cuts[[best]])
