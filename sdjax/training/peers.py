"""Several processes end together: what ends one of them ends all, with the reason.

jax's coordinator holds a table of names and values that all processes see. A thread of
each process writes there that it lives, and waits for the news that one has failed. A
process that fails writes who it is and why, and leaves without waiting for the others
at jax's barrier. Left to itself jax would notice a killed process after a minute or
more, and end the others with a stack of C++.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator

import jax
from jax._src import distributed  # the table has no public name; orbax does the same

from sdjax import errors
from sdjax.errors import InputError
from sdjax.terminal import show_lines

_FAILURE = "sdjax/failure"
_ALIVE, _HEARD = "sdjax/alive/", "sdjax/heard/"
_BEAT = 1.0  # seconds between two signs of life
_SILENCE = 20.0  # seconds without one after which a process counts as dead
_FAREWELL = 5.0  # seconds that the coordinator waits for the others to hear the news
# Parts of what XLA says when it was another process that went away.
_OTHERS = ("Gloo", "NCCL", "onnection", "UNAVAILABLE", "Socket closed", "peer")


def join(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Become one of several processes; before anything else asks jax for devices.

    Args:
        coordinator: HOST:PORT on which the first process listens.
        num_processes: how many there are.
        process_id: which of them this one is, from 0.
        All three are found out on a cluster that jax knows, such as Slurm or a TPU pod.

    Raises:
        InputError: they are not known, or the others are not to be reached.
    """
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"--distributed: {' '.join(str(error).split())[:300]}; give --coordinator"
            " HOST:PORT --num_processes N --process_id I"
        ) from error


def on_all(error: InputError) -> InputError:
    """Mark an error that every process raises, so that nobody needs to be told."""
    error.on_all = True
    return error


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
    """End this process when another one fails, and the others when this one does.

    The first to fail says why: each process prints one line with it and ends with the
    same status. A process that was killed is found by its silence within 20 seconds.
    On one process this does nothing.
    """
    if jax.process_count() == 1:
        yield
        return
    watch = _Watch(distributed.global_state.client)
    try:
        yield
    except BaseException as error:
        normal = isinstance(error, SystemExit) or getattr(error, "on_all", False)
        if not normal:
            watch.end_all(error)
        watch.close()
        raise
    watch.close()


class _Watch:
    """A thread that says that this process lives, and hears when another one fails."""

    def __init__(self, client):
        self._client = client
        self._own, self._count = jax.process_index(), jax.process_count()
        self._closed, self._leaving = threading.Event(), threading.Lock()
        self._seen = {}  # by process: its last sign of life, and when it was new
        self._thread = threading.Thread(
            target=self._run, name="sdjax-peers", daemon=True
        )
        self._thread.start()
        # XLA aborts a process when it loses the coordinator, and prints a stack of C++.
        # Kept here: what C calls must not be collected.
        self._handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(self._aborted)
        ctypes.CDLL(None).signal(int(signal.SIGABRT), self._handler)

    def _aborted(self, _) -> None:
        """Say why XLA ends this process, from another thread than the one it ends."""
        threading.Thread(target=self._say_why_aborted, daemon=True).start()
        time.sleep(_FAREWELL + _BEAT)
        os._exit(1)

    def _say_why_aborted(self) -> None:
        if not _coordinator_listens():
            self._leave(0, _GONE, 1)
        self._tell(self._own, "XLA ended it; what XLA says stands above", 1)

    def close(self) -> None:
        """Wait for the others to come here too, then stop watching them."""
        # Whoever hears nothing any more must know that the end is a good one.
        self._client.wait_at_barrier("sdjax/end", 60_000)
        self._closed.set()
        self._thread.join()  # within C++ it would not survive the end of Python

    def _run(self) -> None:
        """Say that this process lives; hear of one that does not."""
        count = 0
        while not self._closed.wait(_BEAT):
            count += 1
            try:
                key = f"{_ALIVE}{self._own}"
                self._client.key_value_set(key, str(count), allow_overwrite=True)
                news = self._news()
                silent = self._silent() if self._own == 0 else None
            except Exception:  # of types of jax's own
                news, silent = {"process": 0, "why": _GONE, "status": 1}, None
            if news is not None:
                self._leave(**news)
            if silent is not None:
                self._tell(silent, f"killed: no sign of life for {_SILENCE:.0f} s", 1)

    def _news(self) -> dict | None:
        """Return what the first process that failed has said, if one has."""
        try:
            return json.loads(self._client.key_value_try_get(_FAILURE))
        except Exception as error:
            if "NOT_FOUND" in str(error):
                return None
            raise

    def _silent(self) -> int | None:
        """Return a process that has not given a sign of life for too long."""
        now = time.monotonic()
        for key, beat in self._client.key_value_dir_get(_ALIVE):
            process = int(key.rpartition("/")[2])
            if self._seen.get(process, (None, now))[0] != beat:
                self._seen[process] = beat, now
            elif now - self._seen[process][1] > _SILENCE:
                return process
        return None

    def end_all(self, error: BaseException) -> None:
        """Tell the others what this process fails of, and end it; never returns."""
        status, why = 1, " ".join(f"{type(error).__name__}: {error}".split())[:500]
        if isinstance(error, InputError | OSError | KeyboardInterrupt):
            status, why = errors.status_and_line(error)
        elif any(word in why for word in _OTHERS):
            # Another one is gone. The thread finds out which, and ends this process.
            time.sleep(_SILENCE + 5 * _BEAT)
        else:
            traceback.print_exception(error)
        self._tell(self._own, why, status)

    def _tell(self, process: int, why: str, status: int) -> None:
        news = {"process": process, "why": why, "status": status}
        try:
            # Only the first one counts: what fails later may fail because of it.
            self._client.key_value_set(_FAILURE, json.dumps(news))
        except Exception:
            with contextlib.suppress(Exception):
                news = self._news() or news
        self._leave(**news)

    def _leave(self, process: int, why: str, status: int) -> None:
        """Print the reason and end this process, without waiting at any barrier."""
        with self._leaving:
            if self._closed.is_set():
                return
            who = "" if process == self._own else f"process {process} failed: "
            show_lines(f"\nerror: {who}{why}", file=sys.stderr, flush=True)
            sys.stdout.flush()
            if self._own == 0:
                self._wait_until_heard(process)
            elif why != _GONE:
                with contextlib.suppress(Exception):
                    self._client.key_value_set(f"{_HEARD}{self._own}", "")
            os._exit(status)

    def _wait_until_heard(self, failed: int) -> None:
        """Keep the table up until the other processes have read it."""
        end = time.monotonic() + _FAREWELL
        others = self._count - len({0, failed})
        with contextlib.suppress(Exception):
            while time.monotonic() < end:
                if len(self._client.key_value_dir_get(_HEARD)) >= others:
                    return
                time.sleep(0.05)


def _coordinator_listens() -> bool:
    """Tell whether the coordinator can be reached, without the help of jax."""
    host, _, port = distributed.global_state.coordinator_address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _FAREWELL / 2):
            return True
    except OSError:
        return False


_GONE = "killed: the coordinator, which runs in it, cannot be reached"
