"""Where reviews come from: JSON lines, CSV, plain text, TFDS; one example at a time.

Nothing is dropped in silence: a row that cannot be used is counted by reason in a
`ReadReport`, which also remembers where the first such row is.
"""

import ast
import csv
import gzip
import hashlib
import io
import itertools
import json
import math
import os
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sdjax.errors import InputError

TEXT_KEYS = (
    "reviewText",
    "text",
    "review",
    "sentence",
    "review_body",
    "review_text",
    "content",
    "body",
)
FORMATS = (".jsonl", ".json", ".csv", ".txt")

_MAX_LINE_BYTES = 64 * 2**20  # a longer line is not a review; keeps memory bounded
_MAX_LITERAL_BYTES = 2**20  # ast.literal_eval needs hundreds of bytes per byte
_MAX_LABEL = 3.4028234e38  # labels are stored as float32
_PEEK = 100  # records looked at to learn which keys a source has


class Example(NamedTuple):
    """One review: its text, its label where there is one, its 0-based row number."""

    text: str
    label: float | None
    row: int


@dataclass
class ReadReport:
    """What was read, what had to be skipped and why, and how far reading has come.

    `read` counts all rows, skipped ones included. `position` and `total` are in
    `unit`: compressed input bytes ("B") for files, "examples" for the rest.
    """

    read: int = 0
    skipped: Counter = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    position: int = 0
    total: int = 0
    unit: str = "B"

    def skip(self, reason: str, place: str, count: int = 1) -> None:
        """Count a row that cannot be used; `place` is `file:line`."""
        self.skipped[reason] += count
        self.first.setdefault(reason, place)

    @property
    def kept(self) -> int:
        """How many rows could be used."""
        return self.read - self.skipped.total()

    def check(self, max_bad_fraction: float = 0.01) -> None:
        """Refuse a source of which too much had to be skipped.

        Raises:
            InputError: more than `max_bad_fraction` of the rows, or all, were skipped.
        """
        if self.kept <= 0:
            raise InputError(f"no usable text in the input: {self.summary()}")
        fraction = self.skipped.total() / self.read
        if fraction > max_bad_fraction:
            raise InputError(
                f"{fraction:.1%} of the rows are unusable, more than the "
                f"{max_bad_fraction:.1%} allowed: {self.summary()}; mend the input"
            )

    def summary(self) -> str:
        """Say in one line what was read and what was skipped."""
        parts = [
            f"{count:,} {reason} (first: {self.first[reason]})"
            for reason, count in self.skipped.most_common()
        ]
        line = f"read {self.read:,}; skipped {self.skipped.total():,}"
        return f"{line}: {', '.join(parts)}" if parts else line

    def as_json(self) -> dict:
        """Give the counts as a JSON object."""
        return {
            "read": self.read,
            "skipped": dict(self.skipped),
            "first": dict(self.first),
        }


class _Record(NamedTuple):
    """One row of a source before its text and label are picked."""

    row: int
    place: str
    values: dict[str, Any]


def read_examples(
    source: str,
    *,
    report: ReadReport,
    text_key: str | None = None,
    label_key: str | None = None,
) -> Iterator[Example]:
    """Read a source of reviews, one example at a time, in constant memory.

    Args:
        source: a path that ends in .jsonl, .json (one object a line), .csv (with a
            header) or .txt (one review a line), each also with .gz; or `tfds:NAME`
            or `tfds:NAME:SPLIT` (split "train" by default).
        report: counts what is read and skipped while the examples are consumed. The
            caller decides with `ReadReport.check` whether too much was skipped.
        text_key: key or column of the text; by default the first of `TEXT_KEYS` that
            the source has.
        label_key: key or column of a numeric label. Without it labels are None.

    Raises:
        InputError: at once for a path that cannot be read, at the first example for
            an unknown key, while reading for a damaged archive.
    """
    source = str(source)
    if source.startswith("tfds:"):
        records = _tfds_records(source, report)
        kind = "key"
    else:
        path, suffix = _check_path(source)
        report.total, report.unit = path.stat().st_size, "B"
        reader = {".csv": _csv_records, ".txt": _text_records}.get(
            suffix, _json_records
        )
        kind = "column" if suffix == ".csv" else "key"
        records = reader(path, _lines(path, report), report)
    return _pick(source, kind, records, report, text_key, label_key)


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
    source: str, *, text_key: str | None = None, label_key: str | None = None
) -> dict:
    """Describe a source for a corpus manifest, as a JSON object.

    A file is known by its name, its size and a digest of its two ends, so that a
    corpus prepared from an earlier version of the file is not taken for this one.
    """
    keys = {"text_key": text_key, "label_key": label_key}
    source = str(source)
    if source.startswith("tfds:"):
        return {"name": source, **keys}
    path, _ = _check_path(source)
    size = path.stat().st_size
    with path.open("rb") as file:
        ends = file.read(2**16)
        file.seek(max(0, size - 2**16))
        ends += file.read(2**16)
    digest = hashlib.sha256(ends).hexdigest()
    return {"name": path.name, "bytes": size, "ends_sha256": digest, **keys}


def _check_path(source: str) -> tuple[Path, str]:
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path}: no such file; give a path or tfds:NAME")
    if not path.is_file():
        raise InputError(f"{path}: not a file; give one file of reviews")
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in FORMATS:
        raise InputError(
            f"{path}: unknown format '{suffix}'; use one of {', '.join(FORMATS)}, "
            "each also with .gz"
        )
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: not readable; check its permissions")
    return path, suffix


def _lines(path: Path, report: ReadReport) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line with its end), and move `report.position`."""
    with path.open("rb") as raw:
        stream = raw
        if path.suffix == ".gz":
            stream = io.BufferedReader(gzip.GzipFile(fileobj=raw), 2**20)
        try:
            for number in itertools.count(1):
                line = stream.readline(_MAX_LINE_BYTES)
                if number % 64 == 0:
                    report.position = raw.tell()
                if not line:
                    break
                if len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n"):
                    while line and not line.endswith(b"\n"):
                        line = stream.readline(_MAX_LINE_BYTES)
                    report.read += 1
                    report.skip("line longer than 64 MiB", f"{path}:{number}")
                    continue
                yield (
                    number,
                    line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line,
                )
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"{path}: damaged gzip file ({error}); fetch it again"
            ) from error
    report.position = report.total


def _json_records(
    path: Path, lines: Iterator[tuple[int, bytes]], report: ReadReport
) -> Iterator[_Record]:
    row = -1
    for number, line in lines:
        if not line.strip():
            continue
        row += 1
        report.read += 1
        if row == 0 and line.lstrip().startswith(b"["):
            raise InputError(
                f"{path}: a JSON array; write one object a line (jq -c '.[]')"
            )
        place = f"{path}:{number}"
        try:
            value = _parse_json(line)
        except UnicodeDecodeError:
            report.skip("non-UTF-8 bytes", place)
        except ValueError:
            report.skip("malformed JSON", place)
        else:
            if isinstance(value, dict):
                yield _Record(row, place, value)
            else:
                report.skip("not a JSON object", place)


def _parse_json(line: bytes) -> Any:
    """Parse a line of JSON; ValueError (UnicodeDecodeError is one) if it is not."""
    text = line.decode()
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        # The oldest Amazon dumps hold Python literals: {'reviewText': "don't"}.
        if not text.lstrip().startswith("{") or len(line) > _MAX_LITERAL_BYTES:
            raise ValueError("malformed JSON") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a text is a SyntaxWarning
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("malformed JSON") from error


def _text_records(
    path: Path, lines: Iterator[tuple[int, bytes]], report: ReadReport
) -> Iterator[_Record]:
    for row, (number, line) in enumerate(lines):
        report.read += 1
        try:
            yield _Record(row, f"{path}:{number}", {"text": line.decode()})
        except UnicodeDecodeError:
            report.skip("non-UTF-8 bytes", f"{path}:{number}")


def _csv_records(
    path: Path, lines: Iterator[tuple[int, bytes]], report: ReadReport
) -> Iterator[_Record]:
    span = _Span()
    csv.field_size_limit(_MAX_LINE_BYTES)
    # Strict, so that a quote left open is an error and not one giant review.
    reader = csv.reader(span.decode(lines), strict=True)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise InputError(f"{path}:1: not a CSV header ({error})") from error
    if span.bad_bytes:
        raise InputError(f"{path}:1: the CSV header is not UTF-8; convert the file")
    for row in itertools.count():
        span.start()
        problem = None
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error:
            problem = "malformed CSV row"
        else:
            if not values:
                continue
            if span.bad_bytes:
                problem = "non-UTF-8 bytes"
            elif len(values) != len(header):
                problem = "CSV row with another number of columns than the header"
        place = f"{path}:{span.first}"
        if problem is None:
            report.read += 1
            yield _Record(row, place, dict(zip(header, values, strict=True)))
        else:
            # An open quote swallows rows up to the next quote: count every line.
            report.read += span.lines
            report.skip(problem, place, span.lines)


class _Span:
    """The lines that one CSV record takes up, and whether they are UTF-8."""

    def __init__(self):
        self.first, self.lines, self.bad_bytes = 0, 0, False

    def start(self) -> None:
        self.lines, self.bad_bytes = 0, False

    def decode(self, lines: Iterator[tuple[int, bytes]]) -> Iterator[str]:
        # A newline byte is never part of a longer UTF-8 character, so each line can
        # be decoded by itself.
        for number, line in lines:
            if self.lines == 0:
                self.first = number
            self.lines += 1
            try:
                yield line.decode()
            except UnicodeDecodeError:
                self.bad_bytes = True
                yield line.decode(errors="replace")


def _tfds_records(source: str, report: ReadReport) -> Iterator[_Record]:
    name, _, split = source.removeprefix("tfds:").partition(":")
    split = split or "train"
    data = _open_tfds(name, split)
    report.total, report.unit = len(data), "examples"
    return _tfds_rows(f"{name}/{split}", data, report)


def _open_tfds(name: str, split: str) -> Any:
    if not name:
        raise InputError(
            "tfds: names no dataset; write tfds:NAME, as tfds:imdb_reviews"
        )
    import tensorflow_datasets as tfds  # slow to import, and rarely needed

    try:
        # array_record is the one file format that needs no TensorFlow.
        return tfds.data_source(
            name, split=split, builder_kwargs={"file_format": "array_record"}
        )
    except Exception as error:  # tfds raises its own, urllib's and protobuf's errors
        lines = str(error).strip().splitlines() or [""]
        raise InputError(
            f"tfds:{name}:{split}: not available ({type(error).__name__}: "
            f"{lines[0][:200]}); check the name, the split and the network, or give a "
            "file"
        ) from error


def _tfds_rows(name: str, data: Any, report: ReadReport) -> Iterator[_Record]:
    for row in range(len(data)):
        values = {}
        place = f"{name}:{row}"
        report.read += 1
        report.position = row + 1
        try:
            for key, value in data[row].items():
                value = value.item() if hasattr(value, "item") else value
                values[key] = value.decode() if isinstance(value, bytes) else value
        except UnicodeDecodeError:
            report.skip("non-UTF-8 bytes", place)
            continue
        yield _Record(row, place, values)


def _pick(
    source: str,
    kind: str,
    records: Iterator[_Record],
    report: ReadReport,
    text_key: str | None,
    label_key: str | None,
) -> Iterator[Example]:
    """Pick the text and the label from every record; count those without."""
    head = list(itertools.islice(records, _PEEK))
    if not head:
        return
    keys = list(dict.fromkeys(key for record in head for key in record.values))
    text_key = _find_key(source, kind, keys, "text", text_key)
    if label_key is not None:
        _find_key(source, kind, keys, "label", label_key)
    for row, place, values in itertools.chain(head, records):
        text = values.get(text_key)
        if text is None:
            report.skip(f"row without '{text_key}'", place)
        elif not isinstance(text, str):
            report.skip("text that is not a string", place)
        elif not text.strip():
            report.skip("empty text", place)
        elif label_key is None:
            yield Example(text, None, row)
        elif (label := _as_label(values.get(label_key))) is None:
            report.skip("label missing or not a number", place)
        else:
            yield Example(text, label, row)


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


def _as_label(value: Any) -> float | None:
    if not isinstance(value, int | float | str):
        return None
    try:
        label = float(value)
    except (ValueError, OverflowError):
        return None
    return label if math.isfinite(label) and abs(label) <= _MAX_LABEL else None
