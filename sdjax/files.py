"""Files and folders that are there whole or not at all, and rows written to a file.

Every artefact is written beside its final name and renamed when it is complete, so an
interruption leaves the old one, or none, but never a part of the new one.
"""

import csv
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from sdjax.errors import InputError, naming

ROW_FORMATS = (".csv", ".jsonl")


def _beside(path: Path) -> Path:
    """Return a hidden name in the same folder, so that a rename moves no data."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a path to write a file to, which then replaces the one at `path`.

    Args:
        path: in a folder that exists. On any failure it stays as it was.
        durable: make the new file survive a power cut too, which costs an `fsync`.
    """
    temporary = _beside(path)
    try:
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
    finally:
        _remove(temporary)


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a small file; args as for `replacing`."""
    with replacing(path, durable=durable) as temporary:
        temporary.write_bytes(content)


def move_files(moves: Iterable[tuple[Path, Path]]) -> None:
    """Rename each (file, new name) in order, replacing older files one by one.

    An artefact of several files is replaced safely if the caller first removes the file
    without which it does not open, and moves that file's successor last.
    """
    for file, path in moves:
        os.replace(file, path)


def refuse_existing(out: Path) -> None:
    """Refuse a path that something is at already.

    Raises:
        InputError: it exists.
    """
    if os.path.lexists(out):
        raise InputError(f"--out {out} exists already: choose another path")


def name_folder(complete: Path, folder: Path) -> None:
    """Give a complete folder its name, where nothing or an empty folder is.

    Raises:
        FileExistsError: something else is there.
    """
    try:
        os.rename(complete, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise FileExistsError(errno.EEXIST, os.strerror(error.errno), folder) from error


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give a path beside `out` to write a file or folder to; it is renamed at the end.

    Where anything fails, nothing is left of it.

    Raises:
        InputError: `out` exists.
        OSError: names `out`; it could not be written.
    """
    refuse_existing(out)
    temporary = _beside(out)
    try:
        with naming(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            refuse_existing(out)
            os.rename(temporary, out)
    finally:
        _remove(temporary)


@contextmanager
def whole_text(path: Path) -> Iterator[TextIO]:
    """Open a text file to write; it gets its name at the end, and only then.

    Raises:
        InputError: the path is a folder.
        OSError: names `path`; it could not be written.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        with naming(path):
            # What UTF-8 cannot hold (half a surrogate pair) becomes a question mark.
            file = open(temporary, "w", encoding="utf-8", errors="replace", newline="")
        with file:
            yield file
            with naming(path):
                file.flush()


def check_row_path(path: Path) -> None:
    """Refuse, before any work, a path that `row_file` cannot write to.

    Raises:
        InputError: another ending than .csv or .jsonl, or the path is a folder.
    """
    if path.suffix not in ROW_FORMATS:
        raise InputError(f"{path}: write to a file in {' or '.join(ROW_FORMATS)}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")


@contextmanager
def row_file(path: Path) -> Iterator[Callable[[Iterable[dict]], None]]:
    """Open a file of rows; gives a function that appends some, all with the same keys.

    Args:
        path: ends in .csv (a header, then a line for each row) or .jsonl.

    Raises:
        InputError: as `check_row_path`.
        OSError: names `path`; it could not be written.
    """
    check_row_path(path)
    with whole_text(path) as file:
        table = None

        def write(rows: Iterable[dict]) -> None:
            nonlocal table
            for row in rows:
                with naming(path):
                    if path.suffix == ".jsonl":
                        file.write(json.dumps(row, ensure_ascii=False) + "\n")
                        continue
                    if table is None:
                        table = csv.DictWriter(file, list(row))
                        table.writeheader()
                    table.writerow(row)

        yield write
