"""Labelled texts -> batches of one length each, for training end to end.

A text of L bytes is read to its end, but the gradient goes back through its last T
only: T is the largest of `spans(max_bytes)` that is at most L. The bytes before are
read without a gradient, so a text ends in the state that featurizing it gives, whatever
its length, and every row of a batch ends at the batch's last step: nothing is padded.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

_SHORTEST = 2  # bytes; a framed text has three at least
_LENGTH_STEP = 256  # bytes; texts are ordered by length this coarsely


class TextBatch(NamedTuple):
    """Some texts, by their last T bytes.

    rows: int64[B], which texts; a batch that is not full repeats its first one.
    weights: float32[B], 1, and 0 for the repeated ones.
    before: the bytes of each text that come before the last T.
    tokens: uint8[T, B].
    """

    rows: np.ndarray
    weights: np.ndarray
    before: list[bytes]
    tokens: np.ndarray


def spans(max_bytes: int) -> list[int]:
    """Return the lengths T that are compiled for, ascending: 2, 3, 4, 6, 8, 12, 16, ...

    Steps of at most a half: of a text shorter than `max_bytes` at least two thirds of
    the bytes have a gradient.
    """
    sizes, size = {max_bytes}, _SHORTEST
    while size < max_bytes:
        sizes |= {size, min(max_bytes, size + size // 2)}
        size *= 2
    return sorted(sizes)


def text_batches(
    encoded: Sequence[bytes], batch_size: int, max_bytes: int, seed: int, epoch: int
) -> Iterator[TextBatch]:
    """Yield every text once, those of similar lengths together, in a random order.

    Args:
        encoded: framed texts.
        batch_size: texts in a batch.
        max_bytes: of each text that has a gradient, at least 2.
        seed, epoch: the order is a function of these.
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
    """Return how many batches `text_batches` yields."""
    sizes = np.array(spans(max_bytes))
    lengths = [len(data) for data in encoded]
    size_of = np.searchsorted(sizes, lengths, side="right")
    counts = np.unique(size_of, return_counts=True)[1]
    return int(np.sum(-(-counts // batch_size)))
