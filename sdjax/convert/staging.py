"""Files and folders that appear under their name when they are whole."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sdjax.errors import InputError, naming


def refuse_existing(out: Path) -> None:
    """Refuse a path that something is at already.

    Raises:
        InputError: it exists.
    """
    if os.path.lexists(out):
        raise InputError(f"--out {out} exists already: choose another path")


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give a path beside `out` to write a file or folder to; it is renamed at the end.

    Where anything fails, nothing is left of it.

    Raises:
        InputError: `out` exists.
        OSError: names `out`; it could not be written.
    """
    refuse_existing(out)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with naming(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            refuse_existing(out)
            os.rename(temporary, out)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
