"""The process that trains: signals as a request to stop, and how it gets memory."""

import ctypes
import signal


class StopSignal:
    """Turn SIGINT and SIGTERM into a request to save and stop after this step.

    `requested` is 0 or the signal's number. A second signal stops at once.
    """

    requested = 0

    def __enter__(self):
        self._previous = {
            s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def _note(self, number, _):
        self.requested = number
        self.__exit__()

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)


# Parameter numbers of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> None:
    """Let later allocations reuse freed memory instead of asking the kernel again.

    On a CPU every training step allocates its buffers afresh. By default glibc maps
    large ones and unmaps them when they are freed, and the kernel zeroes each page
    again at its first touch: a seventh of the processor time of a step of 1,024 units
    (docs/performance.md). Call it before the first large allocation. Costs: the process
    keeps its peak memory. Other C libraries and accelerators are not affected.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_ARENA_MAX, 1)  # other arenas can only grow by mapping
