"""The input cut into pieces that can be read apart, each by another process."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from sdjax.data.parts import Dataset, File
from sdjax.data.read_report import ReadReport

PIECE_BYTES = 64 * 2**20  # of an uncompressed file, which can be read from any offset


class Piece(NamedTuple):
    """The input of one task: a source, or a range of bytes of it.

    number: of the piece, in the order of the input.
    source: with absolute paths.
    span: (start, end) in bytes; None for all of the source.
    """

    number: int
    source: File | Dataset
    span: tuple[int, int] | None


class Counts(Protocol):
    """Counts from reading a piece: its lines, and what was skipped."""

    lines: int
    report: ReadReport


def pieces(sources: Iterable[File | Dataset]) -> Iterator[Piece]:
    """Cut sources into pieces, in order; what cannot be cut is one piece."""
    number = 0
    for source in sources:
        spans = [None]
        if isinstance(source, File):
            layout = source.layout
            if layout.by_lines and layout.form.start is not None:
                size = source.size
                starts = range(0, size, PIECE_BYTES)
                spans = [(begin, min(begin + PIECE_BYTES, size)) for begin in starts]
            stored = layout.stored
            stored = stored._replace(path=stored.path.absolute(), shown=str(stored))
            source = source._replace(layout=layout._replace(stored=stored))
        for span in spans:
            yield Piece(number, source, span)
            number += 1


def with_file_lines(
    pieces: Iterable[Piece], counts: Iterable[Counts]
) -> Iterator[ReadReport]:
    """Yield the reports with line numbers of the file instead of the piece."""
    before = 0
    for piece, count in zip(pieces, counts, strict=True):
        if piece.span is None or piece.span[0] == 0:
            before = 0
        if before:
            for reason, place in count.report.first.items():
                name, _, line = place.rpartition(":")
                count.report.first[reason] = f"{name}:{int(line) + before}"
        before += count.lines
        yield count.report
