"""One source that has been opened: a file, or a dataset that a library finds."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sdjax.data import formats
from sdjax.data.formats import columnar, datasets, stars
from sdjax.data.formats.layout import Layout, Record
from sdjax.data.keys import Keys
from sdjax.data.read_report import ReadReport


class File(NamedTuple):
    """A file, or a folder that is one data set, of which the keys are known."""

    layout: Layout
    keys: Keys

    def records(self, report: ReadReport, more: Sequence[str] = ()) -> Iterator[Record]:
        """Read all of it, record by record: its keys, and `more` of them."""
        wanted = [*self.keys.text, self.keys.label, *more]
        columns = [key for key in wanted if key is not None]
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
    name = f"{stored.path.name}::{stored.member}" if stored.member else stored.path.name
    if stored.shown:
        name = stored.shown
    if stored.path.is_dir():
        listed = [[str(f.relative_to(stored.path)), f.stat().st_size] for f in files]
        digest = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
        return {"name": name, "files": len(files), "names_sha256": digest}
    size = stored.path.stat().st_size
    with stored.path.open("rb") as file:
        ends = file.read(2**16)
        file.seek(max(0, size - 2**16))
        ends += file.read(2**16)
    digest = hashlib.sha256(ends).hexdigest()
    return {"name": name, "bytes": size, "ends_sha256": digest}
