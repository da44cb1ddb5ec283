"""The deterministic, resumable stream of windows that truncated BPTT reads."""

import hashlib
import json
from typing import NamedTuple

import numpy as np

from sdjax.data.corpus import Corpus
from sdjax.errors import InputError


class Batch(NamedTuple):
    """One window of every row of the global batch (G rows, T predicted bytes each).

    tokens: uint8[T + 1, G]; inputs are `tokens[:-1]`, targets `tokens[1:]`.
    lengths: int32[G], how many of a row's T targets count; the rest is padding.
    reset: bool[G], True where a shard starts, so that the row's state is zeroed.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    reset: np.ndarray


class Windows:
    """Windows over one split of a corpus, addressed by a single integer.

    A shard of n bytes has n - 1 bytes to predict. They are cut into G rows of equal
    length, read left to right in windows of T; a row's first input is the byte before
    its first target. So every byte of a shard after its first is predicted exactly
    once. `windows[step]` depends on nothing but the arguments and `step`: epochs
    follow each other, each with its own order of shards. It is a Grain
    `RandomAccessDataSource`, whose elements are whole batches.

    Args:
        corpus: an open corpus.
        split: "train", "valid" or "test".
        batch_size: G, rows over all devices.
        window_size: T, bytes predicted per row and window.
        seed: of the order of shards; order is a function of (seed, epoch).
        shuffle: False reads the shards in the order of the manifest.
        rows: read only these rows of each batch, those of this process; all by default.

    Raises:
        InputError: a shard has fewer bytes to predict than the batch has rows.
    """

    def __init__(
        self,
        corpus: Corpus,
        split: str,
        *,
        batch_size: int,
        window_size: int,
        seed: int = 0,
        shuffle: bool = True,
        rows: range | None = None,
    ):
        self._corpus, self._split = corpus, split
        self._batch_size, self._window_size = batch_size, window_size
        self._seed, self._shuffle = seed, shuffle
        shard_bytes = np.array([s.bytes for s in corpus.shards[split]], np.int64)
        if shard_bytes.min() - 1 < batch_size:
            raise InputError(
                f"the smallest {split} shard of {corpus.folder} has {shard_bytes.min()}"
                f" bytes, too few for a batch of {batch_size} rows: prepare with fewer"
                " shards or train with a smaller batch"
            )
        self._rows = np.array(rows or range(batch_size))
        self._row_bytes = -(-(shard_bytes - 1) // batch_size)
        self._shard_windows = -(-self._row_bytes // window_size)
        self.windows_per_epoch = int(self._shard_windows.sum())
        self.bytes_per_epoch = int((shard_bytes - 1).sum())
        self._epoch = (-1, None, None)

    def __len__(self) -> int:
        return self.windows_per_epoch

    @property
    def fingerprint(self) -> str:
        """What, beside the step, a position in the data stands for."""
        order = self._seed if self._shuffle else None
        sizes = self._batch_size, self._window_size
        identity = [self._corpus.fingerprint, self._split, *sizes, order]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    def __repr__(self) -> str:
        """Grain keeps this with its position and compares it when it goes on."""
        return f"Windows(fingerprint={self.fingerprint!r})"

    @property
    def padding(self) -> float:
        """Share of an epoch's positions that is padding, in [0, 1)."""
        positions = self.windows_per_epoch * self._window_size * self._batch_size
        return 1 - self.bytes_per_epoch / positions

    def __getitem__(self, step: int) -> Batch:
        """Return window `step` (0-based, counted over all epochs)."""
        if step < 0:
            raise IndexError(f"window {step}: windows are counted from 0")
        epoch, window = divmod(step, self.windows_per_epoch)
        known, order, ends = self._epoch
        if epoch != known:
            order = self._shard_order(epoch)
            ends = np.cumsum(self._shard_windows[order])
            self._epoch = epoch, order, ends  # at once: Grain reads on many threads
        place = int(np.searchsorted(ends, window, side="right"))
        shard = int(order[place])
        first = int(ends[place] - self._shard_windows[shard])
        return self._read(shard, window - first)

    def _shard_order(self, epoch: int) -> np.ndarray:
        count = len(self._shard_windows)
        if not self._shuffle:
            return np.arange(count)
        key = np.random.Philox(key=np.array([self._seed, epoch], np.uint64))
        return np.random.Generator(key).permutation(count)

    def _read(self, shard: int, window: int) -> Batch:
        data = self._corpus.read(self._split, shard)
        rows, size = self._rows, self._window_size
        row_bytes, offset = int(self._row_bytes[shard]), window * size
        starts = rows * row_bytes + offset
        row_ends = np.minimum((rows + 1) * row_bytes, len(data) - 1)
        lengths = np.clip(row_ends - starts, 0, size).astype(np.int32)
        if lengths.min() == size:
            # Every row is full: one strided view, copied once, no index arrays.
            view = np.lib.stride_tricks.as_strided(
                data[starts[0] :],
                (size + 1, len(rows)),
                (1, row_bytes),
                writeable=False,
            )
            tokens = np.ascontiguousarray(view)
        else:
            time = np.arange(size + 1)[:, None]
            index = np.minimum(starts[None] + time, len(data) - 1)
            tokens = np.where(time <= lengths[None], data[index], 0).astype(np.uint8)
        return Batch(tokens, lengths, np.full(len(rows), window == 0))
