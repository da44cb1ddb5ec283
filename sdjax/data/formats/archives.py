"""What is in a zip or tar archive. Nothing is ever unpacked to a disk."""

import re
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from sdjax.data.formats.compression import Stored, is_zip, naming_damage, opened
from sdjax.errors import InputError

_ABOUT = re.compile(r"(readme|licen[cs]e|notice|changelog|citation)\b.*", re.IGNORECASE)
_SHOWN = 8  # members that an error names


def is_about(name: str) -> bool:
    """Tell whether a file is about the data and not the data: a README, a licence."""
    return bool(_ABOUT.match(name))


def names(stored: Stored) -> list[str]:
    """List the files in an archive, in their order; hidden ones are left out."""
    with naming_damage(stored):
        if is_zip(stored.path):
            with zipfile.ZipFile(stored.path) as archive:
                found = [i.filename for i in archive.infolist() if not i.is_dir()]
        else:
            with (
                opened(stored) as (_, stream),
                tarfile.open(fileobj=stream, mode="r|") as archive,
            ):
                found = [entry.name for entry in archive if entry.isfile()]
    return [name for name in found if not _is_hidden(name)]


def data_member(stored: Stored) -> Stored:
    """Choose the one file with data in an archive.

    Raises:
        InputError: there is none, or there are several; it names them.
    """
    found = names(stored)
    if "xl/workbook.xml" in found:
        raise InputError(
            f"{stored}: an Excel workbook; save its sheet as 'CSV UTF-8' and give that"
        )
    data = [name for name in found if not is_about(PurePosixPath(name).name)]
    if len(data) == 1:
        return stored._replace(member=data[0])
    if not data:
        raise InputError(
            f"{stored}: an archive without any file; check that it is whole"
        )
    shown = ", ".join(data[:_SHOWN]) + (", ..." if len(data) > _SHOWN else "")
    raise InputError(
        f"{stored}: an archive of {len(data):,} files: {shown}; say which, as "
        f"{stored}::{_folder_of_reviews(data) or data[0]}"
    )


def _folder_of_reviews(names: list[str]) -> str | None:
    """Return the first folder with the folders `pos` and `neg` (`formats.stars`)."""
    folders = sorted({PurePosixPath(name).parent for name in names})
    above = (folder.parent for folder in folders if folder.name == "pos")
    return next((str(f) for f in above if f / "neg" in folders), None)


def walk(stored: Stored, most_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the files below a folder of an archive, in its order.

    Args:
        stored: its member is the folder.
        most_bytes: of a content; a longer one is cut to one byte more.
    """
    prefix = stored.member.strip("/") + "/"
    whole = stored._replace(member="")
    with naming_damage(stored):
        if is_zip(stored.path):
            with zipfile.ZipFile(stored.path) as archive:
                for entry in archive.infolist():
                    if _is_below(entry.filename, prefix) and not entry.is_dir():
                        with archive.open(entry) as file:
                            yield entry.filename, file.read(most_bytes + 1)
            return
        with (
            opened(whole) as (_, stream),
            tarfile.open(fileobj=stream, mode="r|") as archive,
        ):
            for entry in archive:
                if _is_below(entry.name, prefix) and entry.isfile():
                    with archive.extractfile(entry) as file:
                        yield entry.name, file.read(most_bytes + 1)


def _is_below(name: str, prefix: str) -> bool:
    return name.removeprefix("./").startswith(prefix) and not _is_hidden(name)


def _is_hidden(name: str) -> bool:
    parts = [part for part in PurePosixPath(name).parts if part not in (".", "..")]
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)
