"""Atomic writing of files and folders, and files of rows.

Every artefact is written under a temporary name in the same folder and renamed when it
is complete. An interruption leaves the old artefact or none, never a partial one.
"""

import csv
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from sdjax.errors import InputError, naming

ROW_FORMATS = (".csv", ".jsonl")


def _beside(path: Path) -> Path:
    """Return a hidden path in the same folder, so that renaming copies no data.

    Nobody can guess its name and lay a symbolic link there.
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Force a file, or the entries of a folder, to disk (`fsync`)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_special(path: Path) -> None:
    """Check that no device, pipe or socket would be replaced by a file.

    Raises:
        InputError: there is one at `path`, or where its symbolic link leads.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path}: is not a regular file; name another one")


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write to; at the end its file replaces `path`.

    Args:
        path: in an existing folder. If the block fails, it is unchanged.
        durable: also force the new file to disk before it replaces the old one.

    Raises:
        InputError: a device, a pipe or a socket is there.
    """
    refuse_special(path)
    temporary = _beside(path)
    try:
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
    finally:
        _remove(temporary)


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a small file atomically; see `replacing` for the arguments."""
    with replacing(path, durable=durable) as temporary:
        temporary.write_bytes(content)


def move_files(moves: Iterable[tuple[Path, Path]]) -> None:
    """Rename each (file, new path) in order, replacing older files one by one.

    To replace an artefact of several files safely, first remove the file without which
    the old one does not open, and move the new version of that file last.
    """
    for file, path in moves:
        os.replace(file, path)


def refuse_existing(out: Path) -> None:
    """Check that an output path does not exist.

    Raises:
        InputError: it exists.
    """
    if os.path.lexists(out):
        raise InputError(f"--out {out} exists already: choose another path")


def refuse_filled(out: Path) -> None:
    """Check that `name_folder` can give a folder this name.

    Raises:
        InputError: a file is there, or a folder that is not empty.
    """
    if os.path.lexists(out) and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already: choose another folder")


def name_folder(complete: Path, folder: Path) -> None:
    """Rename a complete folder to `folder`, which may exist if it is empty.

    Raises:
        FileExistsError: `folder` is a file or is not empty.
    """
    try:
        os.rename(complete, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise FileExistsError(errno.EEXIST, os.strerror(error.errno), folder) from error


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yield a temporary path for a file or folder; at the end it is renamed to `out`.

    If the block fails, the temporary path is removed.

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
    """Open a text file for writing; it appears at `path` only when it is complete.

    Raises:
        InputError: the path is a folder.
        OSError: names `path`; it could not be written.
    """
    make_parent(path)
    with replacing(path) as temporary:
        with naming(path):
            # A lone surrogate, which UTF-8 cannot encode, becomes a question mark.
            file = open(temporary, "w", encoding="utf-8", errors="replace", newline="")
        with file:
            yield file
            with naming(path):
                file.flush()


def make_parent(path: Path) -> None:
    """Make the folder that an output file will lie in, as every command does.

    Raises:
        InputError: the path is a folder.
        OSError: names `path`; its folder could not be made.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)


def check_row_path(path: Path) -> None:
    """Check, before any work, that `row_file` can write to a path.

    Raises:
        InputError: its suffix is not .csv or .jsonl, or it is a folder.
    """
    if path.suffix not in ROW_FORMATS:
        raise InputError(f"{path}: name a file that ends in {' or '.join(ROW_FORMATS)}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    refuse_special(path)


def without_formula(value: object) -> object:
    """Return a text that a spreadsheet takes for a formula with an apostrophe before.

    Such a text begins with =, +, -, @, a tab or a carriage return, as OWASP lists them
    ("CSV Injection"). What is no text, a number with its sign ("-2.5"), and any other
    text is returned as it is.
    """
    risky = isinstance(value, str) and value.startswith(_FORMULA)
    risky = risky and not _NUMBER.fullmatch(value)
    return f"'{value}" if risky else value


_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-](\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@contextmanager
def row_file(
    path: Path, keep_formulas: bool = False
) -> Iterator[Callable[[Iterable[dict]], int]]:
    """Open a file of rows; yield a function that appends rows with equal keys.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, in
    .csv; the function returns how many did.

    Args:
        path: ends in .csv (a header, then one line per row) or .jsonl.
        keep_formulas: write such texts as they are.

    Raises:
        InputError: as `check_row_path`.
        OSError: names `path`; it could not be written.
    """
    check_row_path(path)
    with whole_text(path) as file:
        table = None

        def write(rows: Iterable[dict]) -> int:
            nonlocal table
            escaped = 0
            for row in rows:
                with naming(path):
                    if path.suffix == ".jsonl":
                        file.write(json.dumps(row, ensure_ascii=False) + "\n")
                        continue
                    safe = row
                    if not keep_formulas:
                        safe = {key: without_formula(v) for key, v in row.items()}
                        escaped += sum(safe[key] is not row[key] for key in row)
                    if table is None:
                        head = list(map(without_formula, row))
                        table = csv.writer(file, lineterminator="\r\n")
                        table.writerow(list(row) if keep_formulas else head)
                    table.writerow(safe.values())
            return escaped

        yield write
