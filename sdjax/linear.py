"""Logistic regression of labels {0, 1} on features: on all units, and on a few."""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

_MAX_ITERATIONS = 1000
_SEED = 0


@dataclass(frozen=True)
class LinearFit:
    """A fitted classifier: class 1 where `features @ weights + intercept > 0`."""

    weights: np.ndarray  # float64[H], in units of the raw features
    intercept: float
    converged: bool = True

    def accuracy(self, features: np.ndarray, labels: np.ndarray) -> float:
        """Fraction of rows of float32[N, H] whose label {0, 1}[N] is predicted."""
        predicted = features @ self.weights + self.intercept > 0
        return float(np.mean(predicted == (labels > 0)))


def fit_l1(features: np.ndarray, labels: np.ndarray, strength: float) -> LinearFit:
    """Fit L1 logistic regression on raw features, the same in every process.

    Args:
        features: float32[N, H].
        labels: {0, 1}[N].
        strength: C, the inverse of the weight of the penalty.

    Returns:
        The fit; it says whether it converged, and the report passes that on.
    """
    model = LogisticRegression(
        l1_ratio=1,
        solver="liblinear",
        C=strength,
        max_iter=_MAX_ITERATIONS,
        random_state=_SEED,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)
    return _linear_fit(model)


def fit_few(features: np.ndarray, labels: np.ndarray) -> LinearFit:
    """Fit a few chosen units: scikit-learn's defaults (L2, C = 1), standardised inside.

    Standardising makes the mild penalty mean the same for every unit, so that the
    threshold of a single unit is not pulled towards zero; the weights that are
    returned apply to raw features again.

    Args:
        features: float32[N, k].
        labels: {0, 1}[N].

    Returns:
        The fit, in units of the raw features.
    """
    features = features.astype(np.float64)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    model = LogisticRegression(max_iter=_MAX_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((features - mean) / scale, labels)
    fit = _linear_fit(model)
    weights = fit.weights / scale
    return LinearFit(weights, fit.intercept - float(mean @ weights), fit.converged)


def _linear_fit(model: LogisticRegression) -> LinearFit:
    return LinearFit(
        weights=model.coef_[0].astype(np.float64),
        intercept=float(model.intercept_[0]),
        converged=int(model.n_iter_.max()) < model.max_iter,
    )
