"""One writer at a time: locks that end with the process that holds them."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from sdjax.errors import InputError
from sdjax.terminal import show

try:
    import fcntl
except ImportError:  # a system without these locks, such as Windows
    fcntl = None

# A link that somebody laid there is not followed.
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
# What a file system answers that has no locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextlib.contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock of a file while a block runs; the file is removed at the end.

    A process that is killed leaves the file, but not the lock. On a file system
    without locks a note is printed and the block runs all the same.

    Args:
        path: of the lock; its folder exists.
        refusal: the message where another process holds it.

    Raises:
        InputError: another process holds it.
        OSError: the file cannot be made.
    """
    descriptor = _acquire(path, refusal)
    try:
        yield
    finally:
        # Removed while it is held. A process that opened it meanwhile tries again.
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _acquire(path: Path, refusal: str) -> int:
    while True:
        descriptor = os.open(path, _FLAGS, 0o666)
        try:
            if fcntl is None:
                raise OSError(errno.ENOSYS, "no file locks on this system")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise InputError(refusal) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
            show(
                f"note: {path.parent} has no file locks: see to it yourself that only"
                " one process writes there",
                file=sys.stderr,
            )
            return descriptor
        if _is_at(path, descriptor):
            return descriptor
        os.close(descriptor)  # its holder has removed it since it was opened


def _is_at(path: Path, descriptor: int) -> bool:
    """Tell whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
