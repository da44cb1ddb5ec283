"""The classifiers in files of NVIDIA's sentiment-discovery, made into ours.

A linear one has `weight` [K, F] and `bias` [K], or `model.1.*` with `final_layer.*` for
the same arrays, `thresholds`, and `neurons` where it reads only some features. Outputs
are sigmoids, each on its own, or with `use_softmax` a softmax. Its features are the
cell after a text, of the last layer or of `all_layers`, with `concat_max`, `concat_min`
and `concat_mean` also those over it. One with hidden layers is none of ours: the
language model is converted without it.

Reference: model/sentiment_classifier.py of
https://github.com/NVIDIA/sentiment-discovery.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sdjax.checkpoints.weights import checked
from sdjax.errors import InputError
from sdjax.model.classifier import Classifier
from sdjax.model.language_model import LanguageModel

_DTYPES = "float32", "float16", "float64"
_NEUTRAL = "the classifier's neutral class, between two thresholds, is left out"


def read_classifier(
    content: object, settings: Mapping, model: LanguageModel, path: Path
) -> tuple[Classifier | None, list[str]]:
    """Return the classifier, None where it is none of ours, and what to say of it.

    Args:
        content: what the file has under `classifier`.
        settings: the arguments of its training, if the file has them.
        model: the language model beside it.
        path: names the file in messages.

    Raises:
        InputError: an array is missing, of another shape or dtype, or not finite.
    """
    place = f"{path}: classifier"
    if not isinstance(content, Mapping):
        raise InputError(f"{place} is {type(content).__name__}, not a state_dict")
    arrays = content.get("sd", content)
    name, hidden = _linear(arrays)
    if hidden or settings.get("heads_per_class", 1) > 1:
        reason = "hidden layers" if hidden else "several heads for each class"
        return None, [f"the classifier has {reason}, sdjax's are linear: left out"]
    pooling = _pooling(arrays, name, settings, model, place)
    # Of a stack the last layer's state, or those of all side by side.
    every = model.num_layers > 1 and bool(settings.get("all_layers"))
    layers = {"layers": "all" if every else "last", "num_layers": model.num_layers}
    width = (model.state_size if every else model.hidden_size) * len(pooling)
    coef = _coefficients(arrays.get(f"{name}weight"), content, width, place)
    scores = len(coef)
    intercept = checked(arrays.get(f"{name}bias"), f"{place} bias", (scores,), _DTYPES)
    softmax = bool(settings.get("use_softmax")) and scores > 1
    thresholds, notes = _thresholds(content, scores, softmax, place)
    single = {"task": "binary", "classes": _two(settings)}
    several = {
        "task": "multiclass" if softmax else "multilabel",
        "classes": _names(settings, scores),
    }
    classifier = Classifier(
        **(single if scores == 1 else several),
        coef=coef,
        intercept=intercept.astype(np.float64),
        thresholds=thresholds,
        link="softmax" if softmax else "sigmoid",
        metadata={
            "state": "hidden" if settings.get("get_hidden") else "cell",
            "pooling": pooling if len(pooling) > 1 else pooling[0],
            **(layers if model.num_layers > 1 else {}),
        },
    )
    return classifier, notes


def _linear(arrays: Mapping) -> tuple[str, int]:
    """Return what stands before `weight` in the last layer, and how many are hidden."""
    if "weight" in arrays:
        return "", 0
    layers = [n for n in arrays if n.startswith("model.") and n.endswith(".weight")]
    matrices = [n for n in layers if getattr(arrays[n], "ndim", 0) == 2]
    return "final_layer.", max(0, len(matrices) - 1)


def _pooling(
    arrays: Mapping, name: str, settings: Mapping, model: LanguageModel, place: str
) -> list[str]:
    """Return what the features are pooled over, in their order."""
    if settings:
        kinds = ("max", "min", "mean")
        return ["last", *(kind for kind in kinds if settings.get(f"concat_{kind}"))]
    weight = arrays.get(f"{name}weight")
    features = weight.shape[-1] if getattr(weight, "ndim", 0) == 2 else 0
    if features == 4 * model.hidden_size:
        return ["last", "max", "min", "mean"]
    return ["last"]


def _coefficients(
    weight: object, content: Mapping, width: int, place: str
) -> np.ndarray:
    """Return float64[K, width]; of features that are not read, zero."""
    place = f"{place} weight"
    if (neurons := content.get("neurons")) is None:
        return checked(weight, place, (None, width), _DTYPES).astype(np.float64)
    neurons = np.asarray(neurons).ravel()
    if neurons.dtype.kind not in "iu" or not np.isin(neurons, np.arange(width)).all():
        raise InputError(f"{place}: its neurons are not all among the {width} features")
    weight = checked(weight, place, (None, None), _DTYPES)
    if weight.shape[1] == width:  # the others are there, and not used
        weight = weight[:, neurons]
    weight = checked(weight, place, (None, len(neurons)), _DTYPES)
    coef = np.zeros((len(weight), width))
    coef[:, neurons] = weight
    return coef


def _thresholds(
    content: Mapping, scores: int, softmax: bool, place: str
) -> tuple[np.ndarray, list[str]]:
    """Return float64[K], and what to say of a neutral class."""
    notes = []
    if content.get("double_threshold") or content.get("dual_threshold"):
        notes.append(_NEUTRAL)
    given = content.get("thresholds")
    if given is None or softmax:  # a softmax has the likeliest class win
        return np.full(scores, 0.5), notes
    found = np.asarray(given, np.float64).ravel()
    if content.get("double_threshold") and len(found) == 2:
        found = found.max(keepdims=True)
    if len(found) == 1:
        found = np.repeat(found, scores)
    if found.shape != (scores,) or not ((found >= 0) & (found <= 1)).all():
        raise InputError(
            f"{place} thresholds: {found.tolist()}, expected {scores} in 0 to 1"
        )
    return found, notes


def _two(settings: Mapping) -> tuple[str, str]:
    """Name the classes of a single output: by its label, where that says anything."""
    name = "".join(_names(settings, 1))
    return ("negative", "positive") if name in ("0", "label") else (f"not {name}", name)


def _names(settings: Mapping, count: int) -> tuple[str, ...]:
    """Name classes as the training did, else by their numbers."""
    given = settings.get("classes")
    if isinstance(given, list | tuple):
        names = tuple(map(str, given))
        if len(names) == count == len(set(names)) and all(names):
            return names
    return tuple(map(str, range(count)))
