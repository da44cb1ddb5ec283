"""Bounds on what a compressed file may grow to: a small one must not fill memory."""

import zipfile
from pathlib import Path

from sdjax.errors import Damaged

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
