"""Logistic regression of one binary target: on all units, and on a few of them."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

_MAX_ITERATIONS = 1000
_SEED = 0


@dataclass(frozen=True)
class LinearFit:
    """A fitted regression: it predicts 1 if `features @ weights + intercept > 0`."""

    weights: np.ndarray  # float64[H], in units of the raw features
    intercept: float
    converged: bool = True


def fit_l1(
    features: np.ndarray,
    labels: np.ndarray,
    C: float,
    tolerance: float = 1e-4,
) -> LinearFit:
    """Fit L1 logistic regression on raw features; deterministic in every process.

    Args:
        features: float32[N, H], or sparse.
        labels: {0, 1}[N]. If all are equal, the result is a constant classifier.
        C: the inverse of the weight of the penalty.
        tolerance: stopping tolerance of the solver; scikit-learn's default.

    Returns:
        The fit. It records whether the solver converged; the report warns if not.
    """
    model = LogisticRegression(
        l1_ratio=1,
        solver="liblinear",
        C=C,
        tol=tolerance,
        max_iter=_MAX_ITERATIONS,
        random_state=_SEED,
    )
    return _fitted(model, features, labels)


def fit_l2(features: np.ndarray, labels: np.ndarray, C: float) -> LinearFit:
    """Fit L2 logistic regression; arguments and result are those of `fit_l1`."""
    model = LogisticRegression(
        solver="liblinear", C=C, max_iter=_MAX_ITERATIONS, random_state=_SEED
    )
    return _fitted(model, features, labels)


def fit_few(features: np.ndarray, labels: np.ndarray) -> LinearFit:
    """Fit a few units: standardise, then L2 with scikit-learn's default C = 1.

    Without standardising, the penalty would depend on the scale of each unit and would
    pull the threshold of a single unit towards zero. The returned weights apply to the
    raw features.

    Args:
        features: float32[N, k].
        labels: {0, 1}[N]. If all are equal, the result is a constant classifier.

    Returns:
        The fit, in units of the raw features.
    """
    features = features.astype(np.float64)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    model = LogisticRegression(max_iter=_MAX_ITERATIONS)
    fit = _fitted(model, (features - mean) / scale, labels)
    weights = fit.weights / scale
    return LinearFit(weights, fit.intercept - float(mean @ weights), fit.converged)


def _fitted(model: LogisticRegression, features, labels: np.ndarray) -> LinearFit:
    positive, count = int(np.sum(labels > 0)), len(labels)
    if positive in (0, count):  # a small sample may hold only one class
        odds = math.log((positive + 1) / (count - positive + 1))
        return LinearFit(np.zeros(features.shape[1]), odds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)
    return LinearFit(
        weights=model.coef_[0].astype(np.float64),
        intercept=float(model.intercept_[0]),
        converged=int(model.n_iter_.max()) < model.max_iter,
    )
