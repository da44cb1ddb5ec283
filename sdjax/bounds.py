"""Bounds on what takes memory: a small file or a large number must not fill it."""

import os
import zipfile
from pathlib import Path

from sdjax.errors import Damaged, InputError

_FREE = 2**26  # bytes that any archive may grow to
_MOST_TIMES = 100  # the size of the file; arrays of numbers hardly shrink by ten


def check_zip(path: Path) -> None:
    """Refuse an archive whose files are together far larger than itself.

    Whoever reads such a file reads all of it into memory. The sizes are those that the
    archive states; of a file that is longer than stated the rest is not read.

    Raises:
        Damaged: it is too large for its size.
        zipfile.BadZipFile: it is no archive.
    """
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        total = sum(entry.file_size for entry in archive.infolist())
    if total > max(_FREE, _MOST_TIMES * size):
        raise Damaged(
            f"{path}: has {size:,} bytes and would be {total:,} in memory: it is no"
            " file of arrays that anybody saved; do not use it"
        )


def check_memory(what: str, count: int, each: int) -> None:
    """Refuse a number of things that the memory of this machine cannot hold.

    Args:
        what: they are, with the flag that mends it: "rows at once (--batch-size)".
        count: of them.
        each: bytes that each takes at least.

    Raises:
        InputError: says how many there may be.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if count * each > memory:
        raise InputError(
            f"{count:,} {what} take at least {count * each / 1e9:,.0f} GB, and this"
            f" machine has {memory / 1e9:,.1f} GB of memory: give fewer, at most"
            f" {memory // each:,}"
        )
