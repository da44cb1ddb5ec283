"""What orbax does when a disk is full or a file damaged, made into one line.

It reads and writes arrays in parallel and raises the first failure as a ValueError of
many lines, a write's only at the next save; it logs each failure besides, and all that
it abandons prints a traceback of its own.
"""

import contextlib
import gc
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sdjax.errors import InputError, naming


def quiet() -> None:
    """Orbax logs every step of every save, and every error that it also raises."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def naming_folder(folder: Path) -> Iterator[None]:
    """Make an `OSError` that names the folder of what the file system refused.

    Orbax raises a ValueError of many lines; the system's error is somewhere in it.
    """
    try:
        with naming(folder):
            yield
    except ValueError as error:
        number = re.search(r"os_error_code='(\d+)'", str(error))
        if number is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(folder)) from error


def read(step: Path, restore: Callable[[], Any]) -> Any:
    """Return what `restore` reads of a step.

    Raises:
        InputError: it cannot be read.
    """
    with hushed():
        try:
            return restore()
        except Exception as error:  # what orbax raises is of many types, or of none
            reason = _first_line(error)
        settle()
    # Not inside `except`: a context would keep alive what has just been settled.
    raise InputError(
        f"checkpoint {step} cannot be read ({reason}): it is damaged; delete it, or use"
        " another step of the run"
    )


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keep quiet what orbax abandons when one of its parallel reads or writes fails.

    Each of the others would print a traceback of its own, by hooks that are called for
    nothing else in here: an exception that is raised still comes out.
    """
    hooks = sys.excepthook, sys.unraisablehook
    sys.excepthook = sys.unraisablehook = lambda *_: None
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook = hooks


def settle() -> None:
    """Let what was abandoned come to its end."""
    time.sleep(0.1)
    gc.collect()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
