"""Reading and writing beside the model: one chunk ahead of it, one behind it."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sdjax.data.prefetch import Prefetch

Item = TypeVar("Item")


def ahead(items: Iterator[Item]) -> Prefetch[Item]:
    """Compute the next item on a thread while the last one is used.

    Used as a context manager, like `Prefetch`.
    """
    return Prefetch(lambda _: next(items), itertools.count(), ahead=1)


class Behind:
    """Calls functions one after the other on a thread, never two at once.

    Used as a context manager: leaving it waits for the last call. What a function
    raises is raised at the next call, or at the end.
    """

    def __init__(self):
        self._thread = ThreadPoolExecutor(1, "sdjax-write")
        self._pending: Future | None = None

    def __call__(self, function: Callable, *arguments) -> None:
        """Begin a call, as soon as the one before has returned."""
        if self._pending is not None:
            self._pending.result()
        self._pending = self._thread.submit(function, *arguments)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self._thread.shutdown()
        if kind is None and self._pending is not None:
            self._pending.result()
