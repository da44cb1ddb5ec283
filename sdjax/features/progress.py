"""A progress bar over an input that follows what the model has read of it."""

from tqdm import tqdm


class Share:
    """Move a bar by `length` in all, as `total` bytes of text are read."""

    def __init__(self, bar: tqdm, length: int, total: int):
        self._bar, self._start = bar, bar.n
        self._length, self._total, self._read = length, total, 0

    def __call__(self, count: int) -> None:
        self._read += count
        there = self._start + self._length * self._read // self._total
        self._bar.update(there - self._bar.n)
