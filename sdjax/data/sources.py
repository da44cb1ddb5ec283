"""Where reviews come from: files and TFDS, one example (text and label) at a time.

How each format is read stands in `sdjax.data.formats`; what is skipped is counted in a
`ReadReport`.
"""

import glob
import hashlib
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sdjax.data.formats import FORMATS, Record, file_records, tfds_records
from sdjax.data.read_report import ReadReport
from sdjax.data.streams import COMPRESSIONS
from sdjax.errors import InputError

TEXT_KEYS = (
    "reviewText",  # Amazon 2014 and 2018
    "text",  # Amazon 2023, IMDB and Yelp in TFDS
    "review",
    "sentence",
    "review_body",
    "review_text",
    "content",
    "body",
)

_MAX_LABEL = 3.4028234e38  # labels are stored as float32
_PEEK = 100  # records looked at to learn which keys a source has


class Example(NamedTuple):
    """One review: text, label where there is one, 0-based row number, id where asked.

    Asked for several labels, `label` is a tuple of them.
    """

    text: str
    label: float | tuple[float, ...] | None
    row: int
    id: str | None = None


# Like an example, with the place that messages name: (row, place, text, label).
Placed = tuple[int, int | str, str, float | None]


class Keys(NamedTuple):
    """Which values of the records of a source are the text and the label.

    place: the source as messages name it.
    """

    place: str
    text: str
    label: str | None

    def pick(self, records: Iterable[Record], report: ReadReport) -> Iterator[Placed]:
        """Pick the text and the label from every record; count those without."""
        text_key, label_key = self.text, self.label
        for row, place, values in records:
            text = values.get(text_key)
            if type(text) is not str:
                missing = f"row without '{text_key}'"
                reason = missing if text is None else "text that is not a string"
                report.skip(reason, f"{self.place}:{place}")
            elif not text or text.isspace():
                report.skip("empty text", f"{self.place}:{place}")
            elif label_key is None:
                yield row, place, text, None
            elif (label := as_label(values.get(label_key))) is None:
                report.skip("label missing or not a number", f"{self.place}:{place}")
            else:
                yield row, place, text, label


class File(NamedTuple):
    """A file of reviews whose keys are known."""

    path: Path
    suffix: str
    keys: Keys

    def records(self, report: ReadReport, more: Sequence[str] = ()) -> Iterator[Record]:
        """Read all of it, record by record: its keys, and `more` of them."""
        columns = [key for key in (*self.keys[1:], *more) if key is not None]
        return file_records(self.path, self.suffix, report, columns)


class Dataset(NamedTuple):
    """A dataset of TFDS whose keys are known."""

    source: str
    keys: Keys

    def records(self, report: ReadReport, more: Sequence[str] = ()) -> Iterator[Record]:
        """Read all of it, record by record; every record has all keys anyhow."""
        return tfds_records(self.source, report)


def open_source(
    source: str,
    *,
    text_key: str | None = None,
    label_key: str | None = None,
    more: Sequence[tuple[str, str]] = (),
) -> File | Dataset:
    """Find out how a source is to be read.

    Args:
        source: a path that ends in .jsonl, .json (one object a line), .csv (with a
            header), .txt (one review a line) or .parquet, all but the last also with
            .gz or .zst; or `tfds:NAME` or `tfds:NAME:SPLIT` (split "train" by default).
        text_key: key or column of the text; by default the first of `TEXT_KEYS` that
            the source has.
        label_key: key or column of a numeric label. Without it labels are None.
        more: (what for, key) of others that must exist.

    Raises:
        InputError: it cannot be read, or has no such key.
    """
    source, peeked = str(source), ReadReport()
    if _is_dataset(source):
        records = tfds_records(source, peeked)
        keys = _keys(source, "key", records, text_key, label_key, more)
        name, _, split = source.removeprefix("tfds:").partition(":")
        return Dataset(source, keys._replace(place=f"{name}/{split or 'train'}"))
    path, suffix = _check_path(source)
    records = file_records(path, suffix, peeked)
    kind = "column" if suffix in (".csv", ".parquet") else "key"
    return File(path, suffix, _keys(source, kind, records, text_key, label_key, more))


def read_examples(
    source: str,
    *,
    report: ReadReport,
    text_key: str | None = None,
    label_key: str | Sequence[str] | None = None,
    id_key: str | None = None,
) -> Iterator[Example]:
    """Read a source of reviews, one example at a time, in constant memory.

    Args:
        source, text_key: as `open_source` takes them.
        report: counts what is read and skipped while the examples are consumed. The
            caller decides with `ReadReport.check` whether too much was skipped.
        label_key: key or column of a numeric label, or a list of them: then a row needs
            all of them. Without it labels are None.
        id_key: key or column of an id, kept as a string. Without it ids are None.

    Raises:
        InputError: at once for a source that cannot be read and for an unknown key,
            while reading for a damaged archive.
    """
    several = label_key is not None and not isinstance(label_key, str)
    label_keys = list(label_key) if several else [label_key] if label_key else []
    more = [("label", key) for key in label_keys]
    more += [] if id_key is None else [("id", id_key)]
    opened = open_source(source, text_key=text_key, more=more)
    if isinstance(opened, File):
        report.total, report.unit = opened.path.stat().st_size, "B"
    records = opened.records(report, [key for _, key in more])
    picked = _pick_all(opened.keys, records, report, label_keys, id_key)
    return (
        Example(text, labels if several else next(iter(labels), None), row, given)
        for text, labels, row, given in picked
    )


def _pick_all(
    keys: Keys,
    records: Iterator[Record],
    report: ReadReport,
    label_keys: Sequence[str],
    id_key: str | None,
) -> Iterator[tuple[str, tuple[float, ...], int, str | None]]:
    """Pick text, labels, row and id from every record; count those without."""
    for record in records:
        values = record[2]
        for row, place, text, _ in keys.pick([record], report):
            labels = tuple(as_label(values.get(key)) for key in label_keys)
            if id_key is not None and not _is_id(values.get(id_key)):
                report.skip("id missing", f"{keys.place}:{place}")
            elif None in labels:
                report.skip("label missing or not a number", f"{keys.place}:{place}")
            else:
                yield text, labels, row, None if id_key is None else str(values[id_key])


def expand(patterns: Iterable[str]) -> list[str]:
    """Replace each pattern with `*`, `?` or `**` by the files that it matches, sorted.

    Raises:
        InputError: a pattern matches nothing, a file is named twice.
    """
    found = []
    for pattern in map(str, patterns):
        if _is_dataset(pattern) or os.path.exists(pattern):
            found.append(pattern)
        elif glob.has_magic(pattern):
            matches = sorted(glob.glob(pattern, recursive=True))
            if not matches:
                raise InputError(f"{pattern}: no file matches; check the pattern")
            found += matches
        else:
            found.append(pattern)
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{twice}: given twice; give each file once")
    if len(found) > 1 and (name := next(filter(_is_dataset, found), None)):
        raise InputError(f"{name}: a dataset is prepared by itself; give it alone")
    return found


def _is_dataset(source: str) -> bool:
    return source.startswith("tfds:")


def counted(
    examples: Iterable[Example], total: int, report: ReadReport
) -> Iterator[Example]:
    """Count examples that come from no file, such as the synthetic corpus."""
    report.total, report.unit = total, "examples"
    for example in examples:
        report.read += 1
        report.position += 1
        yield example


def describe(
    sources: str | Iterable[str],
    *,
    text_key: str | None = None,
    label_key: str | None = None,
) -> dict:
    """Describe a source, or several, for a corpus manifest, as a JSON object.

    A file is known by its name, its size and a digest of its two ends, so that a
    corpus prepared from an earlier version of the file is not taken for this one.
    """
    keys = {"text_key": text_key, "label_key": label_key}
    names = [sources] if isinstance(sources, str) else list(sources)
    described = [_describe(name) for name in names]
    return (described[0] if len(names) == 1 else {"files": described}) | keys


def _describe(source: str) -> dict:
    if _is_dataset(source):
        return {"name": source}
    path, _ = _check_path(source)
    size = path.stat().st_size
    with path.open("rb") as file:
        ends = file.read(2**16)
        file.seek(max(0, size - 2**16))
        ends += file.read(2**16)
    digest = hashlib.sha256(ends).hexdigest()
    return {"name": path.name, "bytes": size, "ends_sha256": digest}


def _check_path(source: str) -> tuple[Path, str]:
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path}: no such file; give a path or tfds:NAME")
    if not path.is_file():
        raise InputError(f"{path}: not a file; give files, or a pattern as 'dir/*.gz'")
    plain = path.with_suffix("") if path.suffix in COMPRESSIONS else path
    suffix = plain.suffix
    if suffix not in FORMATS or (suffix == ".parquet" and plain != path):
        raise InputError(
            f"{path}: unknown format '{''.join(path.suffixes[-2:])}'; use one of"
            f" {', '.join(FORMATS)}, all but the last also with .gz or .zst"
        )
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: not readable; check its permissions")
    return path, suffix


def _keys(
    source: str,
    kind: str,
    records: Iterator[Record],
    text_key: str | None,
    label_key: str | None,
    more: Sequence[tuple[str, str]],
) -> Keys:
    """Look at the first records to find the keys."""
    head = list(itertools.islice(records, _PEEK))
    exist = list(dict.fromkeys(key for _, _, values in head for key in values))
    if head:
        text_key = _find_key(source, kind, exist, "text", text_key)
        if label_key is not None:
            _find_key(source, kind, exist, "label", label_key)
        for role, key in more:
            _find_key(source, kind, exist, role, key)
    return Keys(source, text_key or TEXT_KEYS[0], label_key)


def _find_key(
    source: str, kind: str, keys: list[str], role: str, wanted: str | None
) -> str:
    exist = ", ".join(str(key)[:40] for key in keys[:50]) or "none"
    if wanted is None:
        found = next((key for key in TEXT_KEYS if key in keys), None)
        if found is None:
            raise InputError(
                f"{source}: no {kind} that is known to hold text; {kind}s that exist: "
                f"{exist}; name one with --{role}-key"
            )
        return found
    if wanted not in keys:
        raise InputError(
            f"{source}: no {role} {kind} '{wanted}'; {kind}s that exist: {exist}"
        )
    return wanted


def _is_id(value: Any) -> bool:
    """Whether a value names a row: a number, or a string that is not blank."""
    if isinstance(value, str):
        return bool(value.strip())
    return isinstance(value, int | float) and not math.isnan(value)


def as_label(value: Any) -> float | None:
    """Return a label as a finite number that float32 holds, None if it is none."""
    try:
        label = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return label if -_MAX_LABEL <= label <= _MAX_LABEL else None  # None for NaN
