"""What orbax does when a disk is full or a file damaged, made into one line.

It reads and writes arrays in parallel and raises the first failure as a ValueError of
many lines. A failed write is raised at the next save only. Each failure is logged as
well, and every other read or write that was under way prints a traceback of its own.
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

from sdjax.errors import Damaged, naming


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


def read(step: Path, item: str, restore: Callable[[], Any]) -> Any:
    """Return what `restore` reads of an item of a step.

    Raises:
        Damaged: it cannot be read; names the file where that is known.
    """
    with hushed():
        try:
            return restore()
        except Exception as error:  # what orbax raises is of many types, or of none
            reason, place = _first_line(error), _file_named(str(error), step / item)
        settle()
    # Not inside `except`: a context would keep alive what has just been settled.
    raise Damaged(
        f"checkpoint {step}: damaged, {place} cannot be read ({reason}); use another"
        " step of the run, or move this one away"
    )


def _file_named(message: str, item: Path) -> Path:
    """Return the file below an item that a message names, else the item's folder."""
    if not item.is_dir():
        return item
    for name in re.findall(r"(/[^\s\"']+)", message):
        path = Path(name.rstrip("/:,.;"))
        if item.absolute() in path.parents:
            return path
    return item


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keep orbax's other reads or writes quiet when one of them fails.

    Each of them would print a traceback of its own through hooks that nothing else uses
    in here. An exception that is raised still comes out.
    """
    hooks = sys.excepthook, sys.unraisablehook
    sys.excepthook = sys.unraisablehook = lambda *_: None
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook = hooks


def settle() -> None:
    """Let the reads and writes that were under way end."""
    time.sleep(0.1)
    gc.collect()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
