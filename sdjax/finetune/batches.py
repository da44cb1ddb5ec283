"""Labelled texts -> batches of equal length, for fine-tuning.

The model reads the whole text, but backpropagation covers only its last T bytes, where
T is the largest of `spans(max_bytes)` that is not longer than the text. The bytes
before them are read without a gradient. So the final state is the one that featurizing
the text gives, and no row needs padding: all rows of a batch end at its last step.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

_SHORTEST = 2  # bytes; a framed text has at least three
_LENGTH_STEP = 256  # bytes; texts are sorted by length rounded down to a multiple


class TextBatch(NamedTuple):
    """The last T bytes of B texts, and what comes before them.

    rows: int64[B], indices of the texts; a batch that is not full repeats its first.
    weights: float32[B], 1 for a text and 0 for a repetition.
    before: the bytes of each text before its last T.
    tokens: uint8[T, B], the last T bytes.
    """

    rows: np.ndarray
    weights: np.ndarray
    before: list[bytes]
    tokens: np.ndarray


def spans(max_bytes: int) -> list[int]:
    """Return the lengths T to compile for, ascending: 2, 3, 4, 6, 8, 12, 16, ...

    Each is at most 1.5 times the one before, so that at least two thirds of the bytes
    of a text shorter than `max_bytes` get a gradient.
    """
    sizes, size = {max_bytes}, _SHORTEST
    while size < max_bytes:
        sizes |= {size, min(max_bytes, size + size // 2)}
        size *= 2
    return sorted(sizes)


def text_batches(
    encoded: Sequence[bytes], batch_size: int, max_bytes: int, seed: int, epoch: int
) -> Iterator[TextBatch]:
    """Yield batches that hold every text once, in random order.

    Texts of similar length share a batch.

    Args:
        encoded: framed texts.
        batch_size: texts in a batch.
        max_bytes: the most bytes of a text that get a gradient; at least 2.
        seed, epoch: determine the order.
    """
    random = np.random.Generator(np.random.Philox(key=(seed, epoch)))
    lengths = np.array([len(data) for data in encoded])
    sizes = np.array(spans(max_bytes))
    size_of = sizes[np.searchsorted(sizes, lengths, side="right") - 1]
    order = random.permutation(len(encoded))
    coarse = lengths[order] // _LENGTH_STEP
    order = order[np.lexsort((coarse, size_of[order]))]
    batches = []
    for size in np.unique(size_of):
        rows = order[size_of[order] == size]
        starts = range(0, len(rows), batch_size)
        batches += [(int(size), rows[s : s + batch_size]) for s in starts]
    for index in random.permutation(len(batches)):
        size, rows = batches[index]
        yield _batch(encoded, rows, size, batch_size)


def _batch(encoded, rows: np.ndarray, size: int, batch_size: int) -> TextBatch:
    weights = np.zeros(batch_size, np.float32)
    weights[: len(rows)] = 1
    rows = np.concatenate([rows, np.full(batch_size - len(rows), rows[0])])
    texts = [encoded[row] for row in rows]
    ends = [np.frombuffer(text[-size:], np.uint8) for text in texts]
    before = [text[:-size] for text in texts]
    return TextBatch(rows, weights, before, np.stack(ends, axis=1))


def batches_per_epoch(encoded: Sequence[bytes], batch_size: int, max_bytes: int) -> int:
    """Return the number of batches that `text_batches` yields."""
    sizes = np.array(spans(max_bytes))
    lengths = [len(data) for data in encoded]
    size_of = np.searchsorted(sizes, lengths, side="right")
    counts = np.unique(size_of, return_counts=True)[1]
    return int(np.sum(-(-counts // batch_size)))
