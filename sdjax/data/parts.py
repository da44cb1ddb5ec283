"""One source that has been opened: a file, or a dataset that a library finds."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm
from xxhash import xxh3_128

from sdjax.data import formats
from sdjax.data.formats import columnar, datasets, stars
from sdjax.data.formats.layout import Layout, Record
from sdjax.data.keys import Keys
from sdjax.data.read_report import ReadReport
from sdjax.terminal import printable

_CHUNK = 2**22  # bytes


class File(NamedTuple):
    """A file, or a folder that is one data set, of which the keys are known."""

    layout: Layout
    keys: Keys

    def records(self, report: ReadReport, more: Sequence[str] = ()) -> Iterator[Record]:
        """Read all of it, record by record: its keys, and `more` of them."""
        columns = [*self.keys.text, *self.keys.label, *more]
        columns += [key.partition(".")[0] for key in columns]
        return formats.file_records(self.layout, report, columns)

    def class_names(self, key: str) -> tuple[str, ...]:
        """Return the names that the numbers of a key stand for, or ()."""
        return formats.class_names(self.layout, key)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(path.stat().st_size for path in _files_of(self.layout))


class Dataset(NamedTuple):
    """A dataset of TFDS or Hugging Face of which the keys are known."""

    source: str
    keys: Keys

    def records(self, report: ReadReport, more: Sequence[str] = ()) -> Iterator[Record]:
        """Read all of it, record by record; every record has all keys anyhow."""
        return datasets.dataset_records(self.source, report)

    def class_names(self, key: str) -> tuple[str, ...]:
        """Return the names that the numbers of a key stand for, or ()."""
        return datasets.dataset_class_names(self.source, key)


def _files_of(layout: Layout) -> list[Path]:
    stored = layout.stored
    if layout.format == "saved":
        return columnar.saved_files(stored.path)
    if layout.format == "stars" and not stored.member:
        return stars.star_files(stored.path)
    return [stored.path]


def describe_part(part: File | Dataset) -> dict:
    """Describe a source for a manifest: its name, and what tells another content."""
    if isinstance(part, Dataset):
        return {"name": part.source}
    stored, files = part.layout.stored, _files_of(part.layout)
    content = _content_digest(files, str(stored))
    name = f"{stored.path.name}::{stored.member}" if stored.member else stored.path.name
    if stored.shown:
        name = stored.shown
    if stored.path.is_dir():
        listed = [[str(f.relative_to(stored.path)), f.stat().st_size] for f in files]
        digest = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
        named = {"name": name, "files": len(files), "names_sha256": digest}
        return named | {"content_xxh3": content}
    size = stored.path.stat().st_size
    with stored.path.open("rb") as file:
        ends = file.read(2**16)
        file.seek(max(0, size - 2**16))
        ends += file.read(2**16)
    digest = hashlib.sha256(ends).hexdigest()
    ends = {"ends_sha256": digest}
    return {"name": name, "bytes": size, **ends, "content_xxh3": content}


def _content_digest(files: Sequence[Path], shown: str) -> str:
    """Return the digest of all bytes of some files, in their order."""
    digest, total = xxh3_128(), sum(path.stat().st_size for path in files)
    with tqdm(
        total=total,
        desc=printable(f"digest of {shown}"),
        unit="B",
        unit_scale=True,
        delay=2,
    ) as bar:
        for path in files:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    bar.update(len(chunk))
    return digest.hexdigest()


def comparable(wanted: dict, noted: dict) -> dict:
    """Leave out of a description what an older version did not note of a source.

    Args:
        wanted: as `describe_part` gives it, or several of them under "files".
        noted: what was noted earlier, of the same source or of another.
    """
    older = {"content_xxh3"} - noted.keys() if isinstance(noted, dict) else set()
    kept = {key: value for key, value in wanted.items() if key not in older}
    files, theirs = wanted.get("files"), noted.get("files") if noted else None
    if isinstance(files, list) and isinstance(theirs, list):
        pairs = zip(files, theirs, strict=False)
        kept["files"] = [comparable(*pair) for pair in pairs] + files[len(theirs) :]
    return kept


def stamps(parts: Sequence[File | Dataset]) -> dict[str, tuple[int, ...]]:
    """Return the size, modification time and inode of every file, by its path."""
    found = {}
    for part in parts:
        for path in _files_of(part.layout) if isinstance(part, File) else ():
            status = path.stat()
            found[str(path)] = status.st_size, status.st_mtime_ns, status.st_ino
    return found
