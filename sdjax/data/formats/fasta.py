"""FASTA: sequences over many lines, each under a line that begins with ">"."""

from collections.abc import Iterator

from sdjax.data.formats import lines as line_files
from sdjax.data.formats.layout import Layout, Record, bad_bytes
from sdjax.data.read_report import ReadReport
from sdjax.errors import InputError


def fasta_records(layout: Layout, report: ReadReport) -> Iterator[Record]:
    """Read sequences, with the identifier as `id` and what follows as `description`.

    Letters become capitals, since lower case marks repeats and not other letters; a
    star at the end, a stop codon, is dropped.

    Raises:
        InputError: the first line is not a heading.
    """
    blocks = line_files.line_blocks(layout.stored, layout.form, report)
    entry, row = None, 0
    for number, line in line_files.lines_of(blocks):
        line = line.strip()
        if line.startswith(b">"):
            if entry is not None:
                yield from entry.record(layout, row, report)
                row += 1
            entry = _Entry(number, line[1:].strip())
        elif line and not line.startswith(b";"):
            if entry is None:
                shown = line[:40].decode("utf-8", "replace")
                raise InputError(
                    f"{layout.stored}:{number}: FASTA begins with a line '>name', found"
                    f" {shown!r}; give another --format"
                )
            entry.add(line)
    if entry is not None:
        yield from entry.record(layout, row, report)


class _Entry:
    """A heading and what has been read of the sequence below it."""

    def __init__(self, number: int, heading: bytes):
        self._number, self._heading = number, heading
        self._parts, self._size = [], 0

    def add(self, line: bytes) -> None:
        self._size += len(line)
        if self._size <= line_files.MAX_LINE_BYTES:
            self._parts.append(line)

    def record(self, layout: Layout, row: int, report: ReadReport) -> Iterator[Record]:
        """Yield the record; count it, and what is wrong with it, in the report."""
        report.read += 1
        place = f"{layout.stored}:{self._number}"
        if self._size > line_files.MAX_LINE_BYTES:
            report.skip("sequence longer than 64 MiB", place)
            return
        data = b"".join(b"".join(self._parts).split())
        try:
            sequence, heading = data.decode(), self._heading.decode()
        except UnicodeDecodeError:
            reason, detail = bad_bytes(self._heading + b"\n" + data, layout.form)
            report.skip(reason, place, detail=detail)
            return
        name, _, description = heading.partition(" ")
        sequence = sequence.upper().removesuffix("*")
        values = {"sequence": sequence, "id": name, "description": description.strip()}
        yield row, self._number, values
