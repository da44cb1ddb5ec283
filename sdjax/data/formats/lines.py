"""Lines of text, read in blocks of whole lines: always UTF-8 with newlines.

Whatever the encoding and the ends of the lines in the file are, what comes out of here
is UTF-8 with a newline after each line, so every format is read from that alone.
"""

import codecs
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from sdjax.data.formats.compression import Stored, opened
from sdjax.data.read_report import ReadReport

CHUNK_BYTES = 2**18  # read at a time; larger ones cost more than they save
MAX_LINE_BYTES = 64 * 2**20  # a longer line is not a review; keeps memory bounded

MARK = codecs.BOM_UTF8
# A byte that the encoding does not have becomes half a surrogate pair, which is no
# UTF-8 either: the reader that decodes the line counts it like any other bad one.
_BAD = "\udcff"
codecs.register_error("sdjax.bad", lambda error: (_BAD, error.end))


class TextForm(NamedTuple):
    """How the text of a file is written.

    encoding: a codec; "" is UTF-8.
    returns: lines end with a carriage return alone.
    start: where the text begins in a plain file that has it as UTF-8 with newlines, so
        that any part of it can be read by itself; None in all other cases.
    """

    encoding: str = ""
    returns: bool = False
    start: int | None = None


def line_blocks(
    stored: Stored,
    form: TextForm,
    report: ReadReport,
    span: tuple[int, int] | None = None,
) -> Iterator[tuple[int, bytes]]:
    """Read a file in blocks of whole lines of about `CHUNK_BYTES`, in constant memory.

    Of a line longer than `MAX_LINE_BYTES` the block has somewhat more than that many
    bytes, so that the reader of the lines can count it.

    Args:
        stored: where the bytes are.
        form: how the text is written.
        report: its `position` moves on by the bytes read of the file, compressed.
        span: (start, end) in bytes of a plain file: the lines that begin in there.

    Returns:
        (number of the first line from 1, bytes) of each block. Lines of a span are
        numbered from its first one.

    Raises:
        InputError: the file is damaged.
    """
    before, first, rest = report.position, 1, b""
    with opened(stored) as (raw, stream):
        chunks = decoded_chunks(stream, form) if span is None else _span(raw, *span)
        for chunk in chunks:
            report.position = before + raw.tell()
            if len(rest) > MAX_LINE_BYTES and (cut := chunk.find(b"\n")) >= 0:
                yield first, rest + b"\n"
                first, rest, chunk = first + 1, b"", chunk[cut + 1 :]
            if cut := chunk.rfind(b"\n") + 1:
                block, rest = rest + chunk[:cut], chunk[cut:]
                yield first, block
                first += block.count(b"\n")
            elif len(rest) <= MAX_LINE_BYTES:
                rest += chunk
        if rest:
            yield first, rest


def text_chunks(stored: Stored, form: TextForm, report: ReadReport) -> Iterator[bytes]:
    """Read a file in chunks that end anywhere, as UTF-8 with newlines."""
    before = report.position
    with opened(stored) as (raw, stream):
        for chunk in decoded_chunks(stream, form):
            report.position = before + raw.tell()
            yield chunk


def lines_of(blocks: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield (number from 1, line without its newline) of blocks of lines."""
    for first, block in blocks:
        yield from enumerate(split(block), first)


def split(block: bytes) -> list[bytes]:
    """Split a block into its lines."""
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def decoded_chunks(stream: BinaryIO, form: TextForm) -> Iterator[bytes]:
    """Read a stream in chunks that end anywhere, as UTF-8 with newlines."""
    chunks = _chunks(stream)
    if form.encoding:
        chunks = _recoded(chunks, form.encoding)
    return _with_newlines(chunks) if form.returns else chunks


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    mark = MARK
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk.removeprefix(mark)
        mark = b""


def _recoded(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("sdjax.bad")
    for chunk in chunks:
        if text := decoder.decode(chunk):
            yield text.encode("utf-8", "surrogatepass")
    if text := decoder.decode(b"", True):
        yield text.encode("utf-8", "surrogatepass")


def _with_newlines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for chunk in chunks:
        chunk = held + chunk
        held = b"\r" if chunk.endswith(b"\r") else b""  # a newline may follow
        chunk = chunk[: len(chunk) - len(held)]
        if chunk:
            yield chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if held:
        yield b"\n"


def _span(raw: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes of the lines that begin at or after `start` and before `end`."""
    mark = b"" if start else MARK
    if start:
        raw.seek(start - 1)
        while (line := raw.readline(CHUNK_BYTES)) and not line.endswith(b"\n"):
            pass
    while (left := end - raw.tell()) > 0:
        if not (chunk := raw.read(min(left, CHUNK_BYTES))):
            return
        if left == len(chunk) and not chunk.endswith(b"\n"):
            chunk += raw.readline(MAX_LINE_BYTES + 1)
        yield chunk.removeprefix(mark)
        mark = b""
