"""What went wrong, in one line that names the value, the place and the fix."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping


class InputError(Exception):
    """The user can mend this: the message names the value, the place and the fix."""


class Damaged(InputError):
    """What is on disk is not what was written there; the message names the file."""


class UnreadableText(InputError):
    """A text that cannot become symbols; `reason` is what such rows are counted by."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason

    def __reduce__(self):  # from a worker of another process
        return type(self), (self.reason, str(self))


_FIXES = {
    errno.ENOSPC: "free some space or write elsewhere",
    errno.EDQUOT: "free some space or write elsewhere",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f) or write elsewhere",
    errno.EACCES: "choose a place that you may read and write",
    errno.EPERM: "choose a place that you may read and write",
    errno.EROFS: "choose a place that can be written",
    errno.ENOTDIR: "choose another path: a file is in the way",
    errno.EEXIST: "choose another path: a file is in the way",
    errno.EISDIR: "choose another path: this one is a folder",
    errno.ENOENT: "check the path",
}


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Name in an `OSError` the path that the user gave.

    A full disk is reported without any, and a failed replacement with the name of a
    temporary file.
    """
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def differences(there: Mapping, here: Mapping, prefix: str = "") -> list[str]:
    """Say of each setting that differs what it is there and here.

    Args:
        there: the settings of what was found.
        here: the settings that are asked for; others do not count.
        prefix: put before each name, such as "model.".
    """
    return [
        f"{prefix}{key} is {there.get(key)!r} there and {value!r} here"
        for key, value in here.items()
        if there.get(key) != value
    ]


def run(main: Callable[[], int | None]) -> int:
    """Run a command; report what a user can mend in one line on standard error.

    Args:
        main: does the work and returns an exit status (None counts as 0).

    Returns:
        The exit status: 2 after an `InputError`, 1 after an `OSError` (a full disk,
        a missing permission), 130 after Ctrl-C. Anything else is a bug of ours and
        keeps its traceback.
    """
    try:
        return main() or 0
    except (InputError, OSError) as error:
        status, line = status_and_line(error)
        print(f"error: {line}", file=sys.stderr)
        return status
    except KeyboardInterrupt as error:
        status, line = status_and_line(error)
        print(line, file=sys.stderr)
        return status


def status_and_line(
    error: InputError | OSError | KeyboardInterrupt,
) -> tuple[int, str]:
    """Return the exit status of what a user can mend, and a line that says it."""
    if isinstance(error, InputError):
        return 2, str(error)
    if isinstance(error, OSError):
        return 1, _in_one_line(error)
    return 130, "interrupted"


def _in_one_line(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    fix = _FIXES.get(error.errno)
    return f"{place}{error.strerror or error}" + (f"; {fix}" if fix else "")
