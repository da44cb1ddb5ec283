"""Ctrl-C and SIGTERM as a request that a loop can answer when it is ready."""

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
