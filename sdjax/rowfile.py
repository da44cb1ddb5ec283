"""Results to a file, complete or not there at all: rows as CSV or JSON lines, pages."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from sdjax.errors import InputError, naming

FORMATS = (".csv", ".jsonl")


@contextmanager
def whole(path: Path) -> Iterator[TextIO]:
    """Open a text file to write; it gets its name at the end, and only then.

    Raises:
        InputError: the path is a folder.
        OSError: names `path`; it could not be written.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # What UTF-8 cannot hold (half a surrogate pair) becomes a question mark.
            file = open(temporary, "w", encoding="utf-8", errors="replace", newline="")
        with file:
            yield file
            with naming(path):
                file.flush()
        with naming(path):
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_path(path: Path) -> None:
    """Refuse, before any work, a path that `row_file` cannot write to.

    Raises:
        InputError: another ending than .csv or .jsonl, or the path is a folder.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: write to a file in {' or '.join(FORMATS)}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")


@contextmanager
def row_file(path: Path) -> Iterator[Callable[[Iterable[dict]], None]]:
    """Open a file of rows; gives a function that appends some, all with the same keys.

    Args:
        path: ends in .csv (a header, then a line for each row) or .jsonl.

    Raises:
        InputError: as `check_path`.
        OSError: names `path`; it could not be written.
    """
    check_path(path)
    with whole(path) as file:
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
