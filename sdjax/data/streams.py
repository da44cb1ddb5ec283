"""Files as bytes, plain or compressed, read in blocks of whole lines."""

import contextlib
import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from sdjax.data.read_report import ReadReport
from sdjax.errors import InputError

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
CHUNK_BYTES = 2**18  # read at a time; larger ones cost more than they save
MAX_LINE_BYTES = 64 * 2**20  # a longer line is not a review; keeps memory bounded

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def line_blocks(
    path: Path, report: ReadReport, span: tuple[int, int] | None = None
) -> Iterator[tuple[int, bytes]]:
    """Read a file in blocks of whole lines of about `CHUNK_BYTES`, in constant memory.

    Of a line longer than `MAX_LINE_BYTES` the block has somewhat more than that many
    bytes, so that whoever reads the lines can count it.

    Args:
        path: compressed if its name says so.
        report: its `position` moves on by the bytes read of the file, compressed.
        span: (start, end) in bytes of a plain file: the lines that begin in there.

    Returns:
        (number of the first line from 1, bytes) of each block. Lines of a span are
        numbered from its first one.

    Raises:
        InputError: the file is damaged.
    """
    before, first, rest = report.position, 1, b""
    with _opened(path) as (raw, stream):
        for chunk in _chunks(path, stream) if span is None else _span(raw, *span):
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


def begin_of_text(path: Path) -> int | None:
    """Return where the text of a plain file begins; None for a compressed file."""
    if path.suffix in COMPRESSIONS:
        return None
    with path.open("rb") as file:
        mark = file.read(len(_BYTE_ORDER_MARK)) == _BYTE_ORDER_MARK
    return len(_BYTE_ORDER_MARK) if mark else 0


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


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Give the file as it is on disk, for its position, and what is in it."""
    with path.open("rb") as raw:
        if path.suffix == ".gz":
            yield raw, gzip.GzipFile(fileobj=raw)
        elif path.suffix == ".zst":
            with _zstd(path).ZstdFile(raw) as stream:
                yield raw, stream
        else:
            yield raw, raw


def _zstd(path: Path):
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError as error:
            raise InputError(
                f"{path}: reading zstd takes one more package: "
                "pip install 'sdjax[zstd]'"
            ) from error
    return zstd


def _chunks(path: Path, stream: BinaryIO) -> Iterator[bytes]:
    kind = COMPRESSIONS.get(path.suffix)
    damages = (EOFError, zlib.error, gzip.BadGzipFile)
    if kind == "zstd":
        damages += (_zstd(path).ZstdError,)
    mark = _BYTE_ORDER_MARK
    try:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk.removeprefix(mark)
            mark = b""
    except damages as error:
        raise InputError(
            f"{path}: damaged {kind} file ({error}); fetch it again"
        ) from error


def _span(raw: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes of the lines that begin at or after `start` and before `end`."""
    mark = b"" if start else _BYTE_ORDER_MARK
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
