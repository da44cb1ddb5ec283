"""Reading ahead on a thread, so that the devices never wait for the disk."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Prefetch(Generic[Item]):
    """The values of a function, in order, a few of them computed ahead.

    Used as a context manager: leaving it, whether at the end, early or by an exception,
    ends the thread. What the function raises is raised where its value is asked for.

    Args:
        read: called on a thread of its own, from one index to the next.
        indices: what it is called with.
        ahead: how many values may wait.
    """

    def __init__(
        self, read: Callable[[int], Item], indices: Iterable[int], ahead: int = 4
    ):
        self._read, self._indices = read, indices
        self._waiting = queue.Queue(ahead)
        self._closed = threading.Event()
        # A daemon, should somebody forget to close it.
        self._thread = threading.Thread(
            target=self._fill, name="sdjax-prefetch", daemon=True
        )

    def _fill(self) -> None:
        try:
            for index in self._indices:
                value = self._read(index)
                if self._closed.is_set():
                    return
                self._waiting.put((value, None))
            self._waiting.put((None, StopIteration()))
        except BaseException as error:  # to be raised on the other thread
            self._waiting.put((None, error))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """End the thread and forget what waits."""
        self._closed.set()
        while self._thread.is_alive():
            with suppress(queue.Empty):  # it may be waiting for room
                self._waiting.get_nowait()
            self._thread.join(0.01)

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        if self._closed.is_set():
            raise StopIteration
        if self._thread.ident is None:
            self._thread.start()  # not sooner: an interrupt here ends it, too
        value, error = self._waiting.get()
        if error is not None:
            self._closed.set()
            raise error
        return value
