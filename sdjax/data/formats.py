"""The formats that reviews come in, each read record by record in constant memory.

A record is (row, place, values): its row number from 0, the number of its line from 1
(of its row where there are no lines), its values by key or column. A row that is no
record is counted in the `ReadReport`.
"""

import ast
import csv
import importlib
import itertools
import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from sdjax.data import streams
from sdjax.data.read_report import ReadReport
from sdjax.data.streams import line_blocks, lines_of
from sdjax.errors import InputError

JSON_FORMATS = (".jsonl", ".json")
LINE_FORMATS = (*JSON_FORMATS, ".txt")  # each line is a record by itself
FORMATS = (*LINE_FORMATS, ".csv", ".parquet")

_MAX_LITERAL_BYTES = 2**20  # ast.literal_eval needs hundreds of bytes per byte
_PARQUET_ROWS = 1024  # decoded at a time

Record = tuple[int, int, dict[str, Any]]
Lines = Iterator[tuple[int, bytes]]


def file_records(
    path: Path, suffix: str, report: ReadReport, columns: list[str] | None = None
) -> Iterator[Record]:
    """Read a file of the format that `suffix` (one of `FORMATS`) stands for.

    Args:
        path: of the file, which may be compressed.
        suffix: without that of the compression.
        report: counts what is read.
        columns: read only these where the format allows it.
    """
    if suffix == ".parquet":
        return _parquet_records(path, report, columns)
    lines = lines_of(line_blocks(path, report))
    if suffix == ".csv":
        return _csv_records(path, lines, report)
    return line_records(path, suffix, lines, report)


def line_records(
    path: Path, suffix: str, lines: Lines, report: ReadReport
) -> Iterator[Record]:
    """Read some lines of a file of one of the `LINE_FORMATS`."""
    reader = _json_records if suffix in JSON_FORMATS else _text_records
    return reader(path, lines, report)


def tfds_records(source: str, report: ReadReport) -> Iterator[Record]:
    """Read `tfds:NAME` or `tfds:NAME:SPLIT`, without TensorFlow."""
    name, _, split = source.removeprefix("tfds:").partition(":")
    split = split or "train"
    data = _open_tfds(name, split)
    report.total, report.unit = len(data), "examples"
    return _tfds_rows(f"{name}/{split}", data, report)


def _json_records(path: Path, lines: Lines, report: ReadReport) -> Iterator[Record]:
    row, loads = -1, orjson.loads
    for number, line in lines:
        if len(line) > streams.MAX_LINE_BYTES:
            _skip_giant(path, number, report)
            continue
        try:
            value = loads(line)
        except ValueError:
            if not line.strip():
                continue
            try:
                value = _parse_unusual(line)
            except ValueError as error:
                row += 1
                report.read += 1
                bad_bytes = isinstance(error, UnicodeDecodeError)
                reason = "non-UTF-8 bytes" if bad_bytes else "malformed JSON"
                if number == 1 and line.lstrip().startswith(b"["):
                    raise _array(path) from error
                report.skip(reason, f"{path}:{number}")
                continue
        row += 1
        report.read += 1
        if type(value) is dict:
            yield row, number, value
        elif number == 1 and type(value) is list:
            raise _array(path)
        else:
            report.skip("not a JSON object", f"{path}:{number}")


def _skip_giant(path: Path, number: int, report: ReadReport) -> None:
    report.read += 1
    report.skip("line longer than 64 MiB", f"{path}:{number}")


def _array(path: Path) -> InputError:
    return InputError(f"{path}: a JSON array; write one object a line (jq -c '.[]')")


def _parse_unusual(line: bytes) -> Any:
    """Parse what orjson refuses: NaN, half a surrogate pair, Python literals.

    ValueError (UnicodeDecodeError is one) if it is none of these.
    """
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


def _text_records(path: Path, lines: Lines, report: ReadReport) -> Iterator[Record]:
    for row, (number, line) in enumerate(lines):
        if len(line) > streams.MAX_LINE_BYTES:
            _skip_giant(path, number, report)
            continue
        report.read += 1
        try:
            yield row, number, {"text": line.decode()}
        except UnicodeDecodeError:
            report.skip("non-UTF-8 bytes", f"{path}:{number}")


def _csv_records(path: Path, lines: Lines, report: ReadReport) -> Iterator[Record]:
    span = _Span()
    csv.field_size_limit(streams.MAX_LINE_BYTES)
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
        if problem is None:
            report.read += 1
            yield row, span.first, dict(zip(header, values, strict=True))
        else:
            # An open quote swallows rows up to the next quote: count every line.
            report.read += span.lines
            report.skip(problem, f"{path}:{span.first}", span.lines)


class _Span:
    """The lines that one CSV record takes up, and whether they are UTF-8."""

    def __init__(self):
        self.first, self.lines, self.bad_bytes = 0, 0, False

    def start(self) -> None:
        self.lines, self.bad_bytes = 0, False

    def decode(self, lines: Lines) -> Iterator[str]:
        # A newline byte is never part of a longer UTF-8 character, so each line can
        # be decoded by itself.
        for number, line in lines:
            if self.lines == 0:
                self.first = number
            self.lines += 1
            try:
                yield line.decode() + "\n"
            except UnicodeDecodeError:
                self.bad_bytes = True
                yield line.decode(errors="replace") + "\n"


def _parquet_records(
    path: Path, report: ReadReport, columns: list[str] | None
) -> Iterator[Record]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InputError(
            f"{path}: reading parquet takes one more package: "
            "pip install 'sdjax[parquet]'"
        ) from error
    before, size = report.position, path.stat().st_size
    try:
        with pq.ParquetFile(path) as file:
            rows, row = max(1, file.metadata.num_rows), 0
            if columns is not None:  # those that are there; the caller misses the rest
                columns = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(_PARQUET_ROWS, columns=columns):
                report.position = before + size * (row + len(batch)) // rows
                names, arrays = batch.schema.names, map(_as_bytes, batch.columns)
                for values in zip(*(a.to_pylist() for a in arrays), strict=True):
                    report.read += 1
                    try:
                        yield row, row + 1, _decoded(zip(names, values, strict=True))
                    except UnicodeDecodeError:
                        report.skip("non-UTF-8 bytes", f"{path}:{row + 1}")
                    row += 1
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: damaged parquet file ({' '.join(str(error).split())[:200]}); "
            "fetch it again"
        ) from error


def _as_bytes(array):
    """Undo what claims that the bytes of a parquet file are UTF-8: they may not be."""
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type):
        return array.cast(pa.binary())
    if pa.types.is_large_string(array.type):
        return array.cast(pa.large_binary())
    return array


def _decoded(values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Make strings of bytes."""
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values}


def _open_tfds(name: str, split: str) -> Any:
    if not name:
        raise InputError(
            "tfds: names no dataset; write tfds:NAME, as tfds:imdb_reviews"
        )
    import tensorflow_datasets as tfds  # slow to import, and rarely needed

    try:
        # A few builders, glue among them, are registered only by importing them.
        importlib.import_module(f"tensorflow_datasets.text.{name.partition('/')[0]}")
    except ImportError:
        pass
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
    before = report.position
    for row in range(len(data)):
        report.read += 1
        report.position = before + row + 1
        try:
            values = (
                (key, value.item() if hasattr(value, "item") else value)
                for key, value in data[row].items()
            )
            yield row, row, _decoded(values)
        except UnicodeDecodeError:
            report.skip("non-UTF-8 bytes", f"{name}:{row}")
