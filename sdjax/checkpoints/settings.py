"""The settings of a model as a file gives them, checked before anything is made of it.

A published `config.json`, or the meta of a checkpoint, may come from anybody: a size in
it must not take memory, or time, that the arrays beside it do not take already.
"""

import math
from collections.abc import Mapping
from dataclasses import fields

from sdjax.errors import InputError
from sdjax.model.language_model import CELLS, LanguageModel
from sdjax.model.layout import BY_PLATFORM, LAYOUTS
from sdjax.model.precision import POLICIES

# No size of a model is above its bound: sixteen times the largest that was published.
_MOST = {
    "hidden_size": 2**16,
    "embedding_size": 2**16,
    "vocabulary_size": 2**16,
    "num_layers": 256,
}
_CHOICES = {
    "cell": tuple(CELLS),
    "precision": tuple(POLICIES),
    "layout": (BY_PLATFORM, *LAYOUTS),
}


def model_of(settings: Mapping, shapes: Mapping[str, tuple[int, ...]]) -> LanguageModel:
    """Return the model that a file describes.

    Args:
        settings: of the model, as they are stored.
        shapes: of the arrays that lie beside them, by name, such as `recurrent.wx`.

    Raises:
        InputError: a setting is unknown or missing, of another type, out of its bounds,
            or not that of the arrays; names it.
    """
    known = {f.name: f for f in fields(LanguageModel) if f.name not in _OF_FLAX}
    for name, value in settings.items():
        if name not in known:
            raise InputError(f"{name} is not a setting of a model")
        check_setting(name, value)
    _check_sizes(settings, shapes)
    try:
        return LanguageModel(**settings)
    except TypeError as error:
        raise InputError(str(error)) from error


_OF_FLAX = ("parent", "name")


def check_setting(name: str, value: object) -> None:
    """Refuse a value of another type, or out of bounds.

    Raises:
        InputError: says what was expected.
    """
    if name in _CHOICES:
        choices = _CHOICES[name]
        fits, wanted = value in choices, f"one of {', '.join(choices)}"
    elif name == "use_weight_norm":
        fits, wanted = isinstance(value, bool), "true or false"
    elif name == "memory_span":
        fits = _is_number(value) and math.isfinite(value) and value >= 0
        wanted = "a number, 0 or above"
    else:
        most = _MOST[name]
        whole = isinstance(value, int) and not isinstance(value, bool)
        fits, wanted = whole and 1 <= value <= most, f"an integer from 1 to {most:,}"
    if not fits:
        raise InputError(f"{name} is {value!r}, expected {wanted}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_sizes(settings: Mapping, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the sizes that are asked for with those of the arrays."""
    for name, sizes in (
        ("embedding.embedding", ("vocabulary_size", "embedding_size")),
        ("output.kernel", ("hidden_size", "vocabulary_size")),
    ):
        if len(shape := shapes.get(name, ())) != len(sizes):
            raise InputError(f"the array {name}, a matrix, is missing")
        for size, there in zip(sizes, shape, strict=True):
            asked = settings.get(size, _default(size))
            if asked != there:
                raise InputError(
                    f"{size} is {asked}, but the array {name} has the shape {shape}"
                )
    entries = {name.partition(".")[0] for name in shapes}
    layers = sum(entry.startswith("recurrent") for entry in entries)
    asked = settings.get("num_layers", _default("num_layers"))
    if asked != layers:
        raise InputError(f"num_layers is {asked}, but there are arrays of {layers}")


def _default(name: str) -> object:
    """Return what a setting is that a file leaves out."""
    return next(f.default for f in fields(LanguageModel) if f.name == name)
