"""A function applied in several processes, its results in the order of what it gets."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from sdjax.errors import InputError

Task, Result = TypeVar("Task"), TypeVar("Result")


class Workers:
    """Processes that work for this one; with a count of 1 it does the work itself.

    Used as a context manager: leaving it ends the processes. They also end when this
    process is killed.
    """

    def __init__(self, count: int):
        if count < 1:
            raise InputError(f"{count} workers; give at least 1")
        self.count = count

    def __enter__(self):
        self._executor = None
        if self.count > 1:
            self._executor = ProcessPoolExecutor(
                self.count, multiprocessing.get_context("spawn"), initializer=_start
            )
        return self

    def __exit__(self, *_):
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[Result]:
        """Yield `function(task)` of each task, in the order of the tasks.

        No more tasks than keep the processes busy are drawn ahead.

        Raises:
            WorkerDied: a process was killed.
            Whatever `function` or drawing a task raises.
        """
        if self._executor is None:
            yield from map(function, tasks)
            return
        under_way = deque()
        try:
            for task in tasks:
                under_way.append(self._executor.submit(function, task))
                if len(under_way) > self.count + 1:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        except BrokenProcessPool as error:
            raise WorkerDied(
                "a worker process was killed, perhaps for want of memory; give the "
                f"same command with fewer --workers than {self.count} to go on"
            ) from error


class WorkerDied(InputError):
    """The system killed a worker; what was finished can be kept."""


def _start() -> None:
    """Leave Ctrl-C to the process that we work for, and end when it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process().sentinel

    def watch():
        wait([parent])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
