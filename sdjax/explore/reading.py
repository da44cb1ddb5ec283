"""One text as a model read it: every unit's values, bits, what the classifier says."""

from typing import NamedTuple

import numpy as np

from sdjax.features.columns import pooling_kinds, state_and_pooling
from sdjax.features.trace import TracedText, characters
from sdjax.inference.prefixes import States
from sdjax.model.classifier import Classifier


class Reading(NamedTuple):
    """A text and what the model knew after each of its bytes.

    text: as the model read it, frame included.
    states: after each byte.
    probabilities: by class, as `Score` has them; {} without a classifier.
    called: the classes that the classifier calls it.
    """

    text: str
    states: States
    probabilities: dict[str, float]
    called: tuple[str, ...]

    def unit(self, unit: int) -> TracedText:
        """Return the text with the cell of one unit, by its index in the whole state.

        Units of a stack are numbered through all layers, layer 0 first.
        """
        return TracedText(self.text, self.states.cell[:, unit])

    @property
    def bits(self) -> TracedText:
        """The text with the bits that each character took, at its last byte.

        What the first byte took is not known: nothing stands before it.
        """
        sizes = [len(c.encode("utf-8", "surrogatepass")) for c in self.text]
        ends = np.cumsum(sizes)
        total = np.concatenate([[0.0], np.cumsum(self.states.bits, dtype=np.float64)])
        values = np.zeros(len(self.states.bits))
        values[ends - 1] = total[ends] - total[ends - sizes]
        return TracedText(self.text, values)

    @property
    def bits_per_character(self) -> float:
        """Bits per byte that was predicted: all but the first. 0 of one byte."""
        predicted = max(len(self.states.bits) - 1, 1)
        return float(self.states.bits.sum(dtype=np.float64)) / predicted

    def values(self, unit: int) -> tuple[str, np.ndarray]:
        """Return the text without its frame's start, and a unit's value at each
        character, float64[characters]."""
        return characters(self.unit(unit))


def features(states: States, classifier: Classifier, width: int) -> np.ndarray:
    """Return what a classifier reads of a text, float32[1, F].

    Args:
        states: after each byte.
        classifier: its metadata say which state, pooling and layers.
        width: units of the last layer.
    """
    metadata = classifier.metadata
    of = metadata.get("state", "cell")
    parts = []
    for kind in pooling_kinds(metadata.get("pooling", "last")):
        state, pooling = state_and_pooling(kind, of)
        values = getattr(states, state).astype(np.float32)
        if metadata.get("layers", "last") == "last":
            values = values[:, -width:]
        parts.append(_pooled(values, pooling))
    return np.concatenate(parts)[None]


def _pooled(values: np.ndarray, pooling: str) -> np.ndarray:
    if pooling == "last":
        return values[-1]
    if pooling == "mean":
        return values.mean(axis=0, dtype=np.float64).astype(np.float32)
    return values.max(axis=0) if pooling == "max" else values.min(axis=0)
