"""What a classifier says of itself, checked: its folder may come from anybody."""

import math
from collections.abc import Callable, Mapping

from sdjax.errors import InputError


def check_metadata(metadata: Mapping, width: int) -> None:
    """Refuse what is there in another form than it is used in.

    Args:
        metadata: of a classifier; every key may be missing.
        width: features that it reads.

    Raises:
        InputError: names the key and its value.
    """
    _check(metadata, "", _KEYS)
    if not (top := metadata.get("top_unit")):
        return
    _check(top, "top_unit.", _TOP_UNIT, needed=("index",))
    if not 0 <= top["index"] < width:
        raise InputError(
            f"classifier: top_unit.index is {top['index']}, but it reads {width}"
            " features"
        )


def _check(
    found: Mapping,
    prefix: str,
    keys: Mapping[str, tuple[Callable[[object], bool], str]],
    needed: tuple[str, ...] = (),
) -> None:
    for key, (fits, wanted) in keys.items():
        value = found.get(key)
        if value is None and key not in needed:
            continue
        if not fits(value):
            raise InputError(
                f"classifier: {prefix}{key} is {value!r}, expected {wanted}"
            )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_finite(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _is_quantiles(value: object) -> bool:
    """Whether it has the quantiles of two sides, those that are used among them."""
    if not isinstance(value, dict) or len(value) != 2:
        return False
    return all(
        isinstance(side, dict) and all(_is_finite(side.get(q)) for q in _QUANTILES)
        for side in value.values()
    )


_QUANTILES = ("0.05", "0.50", "0.95")
_TEXT = (_is_text, "a text")
_COUNT = (_is_count, "a count")
_OBJECT = (lambda value: isinstance(value, dict), "an object")
_KEYS = {
    "checkpoint": _TEXT,
    "checkpoint_name": _TEXT,
    "params_sha256": _TEXT,
    "precision": _TEXT,
    "state": _TEXT,
    "layers": _TEXT,
    "pooling": (lambda value: _is_text(value) or _is_texts(value), "a text, or a list"),
    "step": _COUNT,
    "units": (lambda value: _is_count(value) and value > 0, "a count above 0"),
    "num_layers": (lambda value: _is_count(value) and value > 0, "a count above 0"),
    "normalisation": _OBJECT,
    "top_unit": _OBJECT,
}
_TOP_UNIT = {
    "index": _COUNT,
    "sign": (lambda value: value in (1, -1), "1 or -1"),
    "threshold": (_is_finite, "a finite number"),
    "quantiles": (_is_quantiles, "quantiles by class"),
    "classes": (lambda v: _is_texts(v) and len(v) == 2, "two names"),
}
