"""The formats that reviews come in, each read record by record in constant memory.

A record has its row number (from 0), its place for messages, and its values by key or
column. A row that is no record is counted in the `ReadReport`.
"""

import ast
import csv
import gzip
import io
import itertools
import json
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sdjax.errors import InputError
from sdjax.readreport import ReadReport

FORMATS = (".jsonl", ".json", ".csv", ".txt")

_MAX_LINE_BYTES = 64 * 2**20  # a longer line is not a review; keeps memory bounded
_MAX_LITERAL_BYTES = 2**20  # ast.literal_eval needs hundreds of bytes per byte


class Record(NamedTuple):
    """One row of a source before its text and label are picked."""

    row: int
    place: str
    values: dict[str, Any]


def file_records(path: Path, suffix: str, report: ReadReport) -> Iterator[Record]:
    """Read a file of the format that `suffix` (one of `FORMATS`) stands for."""
    report.total, report.unit = path.stat().st_size, "B"
    reader = {".csv": _csv_records, ".txt": _text_records}.get(suffix, _json_records)
    return reader(path, _lines(path, report), report)


def tfds_records(source: str, report: ReadReport) -> Iterator[Record]:
    """Read `tfds:NAME` or `tfds:NAME:SPLIT`, without TensorFlow."""
    name, _, split = source.removeprefix("tfds:").partition(":")
    split = split or "train"
    data = _open_tfds(name, split)
    report.total, report.unit = len(data), "examples"
    return _tfds_rows(f"{name}/{split}", data, report)


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
) -> Iterator[Record]:
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
                yield Record(row, place, value)
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
) -> Iterator[Record]:
    for row, (number, line) in enumerate(lines):
        report.read += 1
        try:
            yield Record(row, f"{path}:{number}", {"text": line.decode()})
        except UnicodeDecodeError:
            report.skip("non-UTF-8 bytes", f"{path}:{number}")


def _csv_records(
    path: Path, lines: Iterator[tuple[int, bytes]], report: ReadReport
) -> Iterator[Record]:
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
            yield Record(row, place, dict(zip(header, values, strict=True)))
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


def _tfds_rows(name: str, data: Any, report: ReadReport) -> Iterator[Record]:
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
        yield Record(row, place, values)
