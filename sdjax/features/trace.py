"""A text with what one unit held after each of its bytes."""

from typing import NamedTuple

import numpy as np


class TracedText(NamedTuple):
    """A text and what one unit held after each of its bytes.

    Args:
        text: the text as the model read it.
        values: float32[bytes of `text` in UTF-8].
        label: its name, as given; None when the text has none.
    """

    text: str
    values: np.ndarray
    label: str | None = None


def characters(traced: TracedText) -> tuple[str, np.ndarray]:
    """Give each character of a text one value: the one at its last byte.

    Args:
        traced: a text of C characters and one value per byte.

    Returns:
        The text without the white space that frames its start, and float[characters].
    """
    sizes = [len(c.encode("utf-8", "surrogatepass")) for c in traced.text]
    if sum(sizes) != len(traced.values):
        raise ValueError(f"{len(traced.values)} values for {sum(sizes)} bytes of text")
    start = len(traced.text) - len(traced.text.lstrip())
    last = np.cumsum(sizes, dtype=int) - 1
    return traced.text[start:], np.asarray(traced.values, float)[last[start:]]
