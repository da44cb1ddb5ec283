"""Errors that a user can fix, reported in one line: the value, the place, the fix."""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping

from sdjax.terminal import show


class InputError(Exception):
    """An error that the user can fix; the message names the value, place and fix."""


class Damaged(InputError):
    """What is on disk is not what was written there; the message names the file."""


class UnreadableText(InputError):
    """A text that cannot be encoded; rows are counted by `reason`."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason

    def __reduce__(self):  # so that it can be sent from a worker process
        return type(self), (self.reason, str(self))


_FIXES = {
    errno.ENOSPC: "free some space or write elsewhere",
    errno.EDQUOT: "free some space or write elsewhere",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f) or write elsewhere",
    errno.EACCES: "choose a path that you have permission to read and write",
    errno.EPERM: "choose a path that you have permission to read and write",
    errno.EROFS: "choose a path on a writable file system",
    errno.ENOTDIR: "choose another path: a file is in the way",
    errno.EEXIST: "choose another path: a file is in the way",
    errno.EISDIR: "choose another path: this one is a folder",
    errno.ENOENT: "check the path",
}


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Replace the path in an `OSError` by the one that the user gave.

    The error of a full disk has no path at all, and that of a failed replacement has
    the path of a temporary file.
    """
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def differences(there: Mapping, here: Mapping, prefix: str = "") -> list[str]:
    """Describe each setting that differs between `there` and `here`.

    Args:
        there: existing settings, for example of a checkpoint.
        here: requested settings; only these are compared.
        prefix: of each name, such as "model.".
    """
    return [
        f"{prefix}{key} is {there.get(key)!r} there and {value!r} here"
        for key, value in here.items()
        if there.get(key) != value
    ]


def run(main: Callable[[], int | None]) -> int:
    """Run a command; report errors that a user can fix in one line on standard error.

    Args:
        main: does the work and returns an exit status (None counts as 0).

    Returns:
        The exit status: 2 after an `InputError`, 1 after an `OSError` (such as a full
        disk or a missing permission) and where memory does not suffice, 130 after
        Ctrl-C, 141 after a reader of the output, such as `head`, has gone. Any other
        exception is a bug and keeps its traceback.
    """
    try:
        status = main() or 0
        if sys.stdout:
            sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Nobody reads; what is still in the buffer may not fail once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        if not isinstance(error, InputError | OSError | MemoryError):
            if "RESOURCE_EXHAUSTED" not in str(error):  # how jax says it
                raise
            error = MemoryError(str(error))
        status, line = status_and_line(error)
        show(f"error: {line}", file=sys.stderr)
        return status
    except KeyboardInterrupt as error:
        status, line = status_and_line(error)
        show(line, file=sys.stderr)
        return status


def status_and_line(
    error: InputError | OSError | MemoryError | KeyboardInterrupt,
) -> tuple[int, str]:
    """Return the exit status of what a user can mend, and a line that says it."""
    if isinstance(error, InputError):
        return 2, str(error)
    if isinstance(error, MemoryError):
        what = " ".join(str(error).split())[:200]
        what = f" ({what})" if what else ""
        return 1, (
            f"memory does not suffice{what}; use a smaller batch, window or model:"
            " sdjax train --memory-on N says beforehand what a step takes"
        )
    if isinstance(error, OSError):
        return 1, _in_one_line(error)
    return 130, "interrupted"


def _in_one_line(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    fix = _FIXES.get(error.errno)
    return f"{place}{error.strerror or error}" + (f"; {fix}" if fix else "")
