"""JSON: an object a line, an array, an array within an object, objects in a row."""

import ast
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from sdjax.data.formats import lines as line_files
from sdjax.data.formats.layout import Layout, Record, bad_bytes
from sdjax.data.formats.plain import Lines, skip_giant
from sdjax.data.read_report import ReadReport
from sdjax.errors import InputError

_MAX_LITERAL_BYTES = 2**20  # ast.literal_eval needs hundreds of bytes per byte

_BRACKET = re.compile(rb'["{}\[\]]')
_IN_STRING = re.compile(rb'\\.|"', re.DOTALL)
_OPEN = {ord("{"): ord("}"), ord("["): ord("]")}
# Within what brackets the objects of a shape stand.
_WITHIN = {"array": b"[", "wrapped": b"{[", "objects": b""}


def line_records(layout: Layout, lines: Lines, report: ReadReport) -> Iterator[Record]:
    """Read lines that are an object each."""
    row, loads = -1, orjson.loads
    for number, line in lines:
        if len(line) > line_files.MAX_LINE_BYTES:
            skip_giant(layout, number, report)
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
                _skip_malformed(layout, number, line, error, report)
                continue
        row += 1
        report.read += 1
        if type(value) is dict:
            yield row, number, value
        else:
            report.skip("not a JSON object", f"{layout.stored}:{number}")


def object_records(layout: Layout, report: ReadReport) -> Iterator[Record]:
    """Read objects that do not keep to lines; `Layout.shape` says how they stand."""
    chunks = line_files.text_chunks(layout.stored, layout.form, report)
    if layout.shape == "columns":
        yield from _column_records(layout, chunks, report)
        return
    row = 0
    for number, data in _naming(layout, objects(chunks, _WITHIN[layout.shape])):
        report.read += 1
        if data is None:
            report.skip("object longer than 64 MiB", f"{layout.stored}:{number}")
        else:
            try:
                value = parse(data)
            except ValueError as error:
                _skip_malformed(layout, number, data, error, report)
            else:
                if type(value) is dict:
                    yield row, number, value
                else:
                    report.skip("not a JSON object", f"{layout.stored}:{number}")
        row += 1


def objects(
    chunks: Iterable[bytes], within: bytes
) -> Iterator[tuple[int, bytes | None]]:
    """Cut JSON in the objects that stand within some brackets, in constant memory.

    Args:
        chunks: the text.
        within: the brackets that are open around each object: `b"["` for an array.

    Returns:
        (number of the line from 1, bytes) of each object; None for the bytes of one
        that is longer than `MAX_LINE_BYTES`.

    Raises:
        InputError: an object is still open at the end.
    """
    data, place = b"", 0
    line, counted = 1, 0  # the number of the line at data[counted]
    stack, in_string, begin, first, too_long = bytearray(), False, None, 1, False
    for chunk in chunks:
        keep = place if begin is None else begin
        line += data.count(b"\n", counted, keep)
        data, place, counted = data[keep:] + chunk, place - keep, 0
        begin = None if begin is None else 0
        while True:
            if in_string:
                found = _IN_STRING.search(data, place)
                if found is None:
                    # A backslash at the very end takes what follows with it.
                    place = max(place, len(data) - data.endswith(b"\\"))
                    break
                place, in_string = found.end(), found[0] != b'"'
                continue
            found = _BRACKET.search(data, place)
            if found is None:
                place = len(data)
                break
            place, mark = found.end(), data[found.start()]
            if mark == ord('"'):
                in_string = True
            elif mark in _OPEN:
                if mark == ord("{") and begin is None and stack == within:
                    begin = found.start()
                    line += data.count(b"\n", counted, begin)
                    counted, first = begin, line
                stack.append(mark)
            else:
                while stack and _OPEN[stack.pop()] != mark:
                    pass  # brackets that do not fit: what they hold will not parse
                if begin is not None and stack == within:
                    yield first, None if too_long else data[begin:place]
                    begin, too_long = None, False
        if begin is not None and len(data) - begin > line_files.MAX_LINE_BYTES:
            # Of a giant only the bracket that opens it stays.
            line += data.count(b"\n", counted, place)
            data, begin, place, counted, too_long = b"{" + data[place:], 0, 1, 1, True
    if begin is not None:
        raise InputError(
            f"line {first}: the brackets that open here never close: the file is cut"
            " short or malformed; fetch it again"
        )


def _naming(layout: Layout, found: Iterator) -> Iterator:
    try:
        yield from found
    except InputError as error:
        raise InputError(f"{layout.stored}: {error}") from error


def parse(data: bytes) -> Any:
    """Parse an object as it may be found: JSON, or a Python literal.

    Raises:
        ValueError: it is neither (UnicodeDecodeError is one).
    """
    try:
        return orjson.loads(data)
    except ValueError:
        return _parse_unusual(data)


def columns_of(value: Any) -> list[dict[str, Any]] | None:
    """Turn an object of columns into rows; None if it is not one.

    `{"text": {"0": "a", "1": "b"}}`, as pandas writes it, or `{"text": ["a", "b"]}`.
    """
    if not isinstance(value, dict) or not value:
        return None
    columns = list(value.values())
    if all(isinstance(c, dict) and c for c in columns):
        rows = list(columns[0])
        if any(set(c) != set(rows) for c in columns):
            return None
        return [{name: c[row] for name, c in value.items()} for row in rows]
    if all(isinstance(c, list) and c for c in columns):
        if len({len(c) for c in columns}) > 1 or any(
            isinstance(c[0], dict | list) for c in columns
        ):
            return None
        return [
            dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)
        ]
    return None


def _column_records(layout, chunks, report: ReadReport) -> Iterator[Record]:
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > line_files.MAX_LINE_BYTES:
            raise InputError(
                f"{layout.stored}: JSON of whole columns, longer than 64 MiB; write one"
                " object a line (in pandas: to_json(orient='records', lines=True))"
            )
    try:
        rows = columns_of(parse(bytes(data)))
    except ValueError as error:
        raise InputError(f"{layout.stored}: {error}; fetch it again") from error
    for row, values in enumerate(rows or []):
        report.read += 1
        yield row, row + 1, values


def _skip_malformed(
    layout: Layout, number: int, data: bytes, error: ValueError, report: ReadReport
) -> None:
    place = f"{layout.stored}:{number}"
    if isinstance(error, UnicodeDecodeError):
        reason, detail = bad_bytes(data, layout.form)
        report.skip(reason, place, detail=detail)
    else:
        report.skip("malformed JSON", place)


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
