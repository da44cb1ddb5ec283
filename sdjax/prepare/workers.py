"""Mapping a function over tasks in several processes, with results in order."""

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


def cores() -> int:
    """Return how many cores this process may use, at least 1.

    Linux says which are left to a process. Elsewhere all that the machine has count.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Workers:
    """A pool of worker processes; with a count of 1 the work runs in this process.

    Use it as a context manager. The workers end when the block is left, and also if
    this process is killed.
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
        """Yield `function(task)` for each task, in order.

        Only as many tasks are taken in advance as keep the workers busy.

        Raises:
            WorkerDied: a worker was killed.
            Exception: whatever `function` or iterating over the tasks raises.
        """
        if self._executor is None:
            yield from map(function, tasks)
            return
        pending = deque()
        try:
            for task in tasks:
                pending.append(self._executor.submit(function, task))
                if len(pending) > self.count + 1:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise WorkerDied(
                "a worker process was killed, perhaps because memory ran out; repeat "
                f"the command with fewer --workers than {self.count} to resume"
            ) from error


class WorkerDied(InputError):
    """A worker process was killed; finished work is kept for the next run."""


def _start() -> None:
    """Initialise a worker: ignore Ctrl-C, which the parent handles, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process().sentinel

    def watch():
        wait([parent])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
