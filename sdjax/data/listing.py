"""From what a user names to files: patterns, folders, members of archives, a pipe."""

import atexit
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from sdjax.data.formats import archives, columnar, stars
from sdjax.data.formats.compression import SUFFIXES as PACKED
from sdjax.data.formats.compression import Stored, bare_suffixes
from sdjax.data.formats.datasets import is_dataset
from sdjax.data.formats.recognise import SUFFIXES, check_readable
from sdjax.errors import InputError

_MANY = 10_000  # files; of more, progress is shown
_MEMBER = "::"


def expand(names: Iterable[str]) -> tuple[list[str | Stored], list[str]]:
    """Replace folders and patterns (`*`, `?`, `**`) by the files in them, sorted.

    A folder that is one data set (aclImdb's layout, `save_to_disk`) stays as it is.

    Returns:
        The sources: datasets by their name, all others by where they are stored. And
        notes of what was left out.

    Raises:
        InputError: a pattern matches nothing, something is named twice.
    """
    found, notes = [], []
    for name in map(str, names):
        found += [name] if is_dataset(name) else _expand(name, notes)
    if len(found) > 1 and (name := next(filter(_by_name, found), None)):
        raise InputError(f"{name}: a dataset is prepared by itself; give it alone")
    seen = {}
    for source in tqdm(found, "listing", disable=len(found) < _MANY, unit="file"):
        if isinstance(source, Stored):
            status = check_readable(source.path)
            key = status.st_dev, status.st_ino, source.member
            if key in seen:
                other = seen[key]
                also = "" if str(other) == str(source) else f", also as {other}"
                raise InputError(f"{source}: given twice{also}; give each file once")
            seen[key] = source
    return found, notes


def _by_name(source: str | Stored) -> bool:
    return isinstance(source, str)


def _expand(name: str, notes: list[str]) -> Iterator[Stored]:
    if name == "-":
        yield _standard_input()
        return
    path = Path(name)
    if os.path.isdir(name):
        yield from _in_folder(path, notes)
    elif os.path.exists(name):
        yield Stored(path)
    elif _MEMBER in name and os.path.exists(name.partition(_MEMBER)[0]):
        archive, _, member = name.partition(_MEMBER)
        yield Stored(Path(archive), member.strip("/"))
    elif glob.has_magic(name):
        matches = sorted(glob.glob(name, recursive=True))
        if not matches:
            raise InputError(f"{name}: no file matches; check the pattern")
        for match in matches:
            if os.path.isdir(match):
                # "**" matches folders and what is in them; that would be twice.
                if "**" not in name:
                    yield from _in_folder(Path(match), notes)
            else:
                yield Stored(Path(match))
    else:
        yield Stored(path)


def _in_folder(folder: Path, notes: list[str]) -> list[Stored]:
    """List the files with data below a folder."""
    if columnar.is_saved(folder):
        columnar.saved_files(folder)  # refuses several splits
        return [Stored(folder)]
    if stars.is_stars(folder):
        return [Stored(folder)]
    inside = [f for f in sorted(folder.iterdir()) if f.is_dir() and stars.is_stars(f)]
    if inside:
        raise InputError(
            f"{folder}: holds {', '.join(f.name for f in inside)}, of which each is a "
            f"data set; give one, as {inside[0]}"
        )
    if (folder / "manifest.json").is_file():
        raise InputError(
            f"{folder}: a prepared corpus; give the files that it is made of"
        )
    every = sorted(
        os.path.join(place, name)
        for place, folders, names in os.walk(folder)
        for name in names
        if not name.startswith(".") and not _hidden(place, folder)
    )
    known = [path for path in every if _is_known(path)]
    if not known:
        raise InputError(
            f"{folder}: no file below it that is known to hold texts; give files"
        )
    if left := sorted(set(every) - set(known)):
        names = ", ".join(os.path.relpath(path, folder) for path in left[:3])
        more = ", ..." if len(left) > 3 else ""
        notes.append(f"{folder}: {len(left):,} other files left out ({names}{more})")
    return [Stored(Path(path)) for path in known]


def _hidden(place: str, folder: Path) -> bool:
    return any(p.startswith(".") for p in Path(place).relative_to(folder).parts)


def _is_known(path: str) -> bool:
    suffix, packed = bare_suffixes(path)
    about = archives.is_about(os.path.basename(path))
    return not about and (suffix in SUFFIXES or bool(set(packed) & set(PACKED)))


def _standard_input() -> Stored:
    """Copy standard input to a file, which is gone when the process ends.

    It is read more than once: to recognise it, and by several processes.
    """
    file = tempfile.NamedTemporaryFile(prefix="sdjax-", delete=False)  # noqa: SIM115
    atexit.register(Path(file.name).unlink, missing_ok=True)
    with file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    path = Path(file.name)
    if path.stat().st_size == 0:
        raise InputError("standard input: is empty; pipe a file into it")
    return Stored(path, shown="standard input")
