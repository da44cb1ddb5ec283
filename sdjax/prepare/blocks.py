"""Blocks: parts of the input, small enough to hand to another process."""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import orjson

from sdjax.data import streams
from sdjax.data.formats import JSON_FORMATS, LINE_FORMATS, Record, line_records
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import Dataset, Example, File, Keys, as_label
from sdjax.data.streams import begin_of_text, line_blocks, lines_of, split

BLOCK_BYTES = 16 * 2**20  # bytes of lines, or characters of records, in one block
# An example as (place, text, label); messages name the place.
Placed = tuple[int | str, str, float | None]
_EXAMPLES = 4096  # in one block, if they do not come from a file


class Block(NamedTuple):
    """A part of a source, read but not yet parsed.

    keys: of the source.
    suffix: the format if `content` holds lines, as yielded by `line_blocks`; "" if it
        holds records.
    content: the lines or records; after `by_reference`, byte ranges instead of lines.
    report: counts from reading; `examples` adds to them.
    start: byte offset of the lines in an uncompressed file; None if there is none.
    """

    keys: Keys
    suffix: str
    content: list[tuple[int, bytes]] | list[tuple[int, range]] | list[Record]
    report: ReadReport
    start: int | None = None

    def by_reference(self) -> "Block":
        """Return a block of byte ranges, if possible, to be read where it is used.

        It is cheap to send to another process.
        """
        if self.start is None:
            return self
        begin, content = self.start, []
        for first, lines in self.content:
            content.append((first, range(begin, begin + len(lines))))
            begin += len(lines)
        return self._replace(content=content)

    def examples(self) -> Iterator[Placed]:
        """Yield the usable examples; `report` counts the others."""
        if not self.suffix:
            yield from self._pick(self.content)
        for chunk in self._chunks() if self.suffix else ():
            if self.suffix in JSON_FORMATS and len(chunk[1]) <= streams.MAX_LINE_BYTES:
                yield from self._of_json(chunk)
            else:
                yield from self._of_lines(lines_of([chunk]))

    def _chunks(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines; read them from the file if the block has byte ranges."""
        if isinstance(self.content[0][1], bytes):
            yield from self.content
            return
        with Path(self.keys.place).open("rb", buffering=0) as file:
            for first, place in self.content:
                yield first, os.pread(file.fileno(), len(place), place.start)

    def _of_json(self, chunk: tuple[int, bytes]) -> Iterator[Placed]:
        """Parse well-formed lines on a fast path, since this loop takes most time.

        Any other line goes through `_of_lines`, which counts what is wrong with it.
        """
        loads, (_, text_key, label_key), text, label = orjson.loads, self.keys, "", None
        (first, lines), parsed = chunk, 0
        for number, line in enumerate(split(lines), first):
            try:
                values = loads(line)
                text = values[text_key]
                if label_key is not None:
                    label = as_label(values[label_key])
                    text = None if label is None else text
            except (ValueError, TypeError, KeyError):
                text = None
            if type(text) is str:
                parsed += 1
                yield number, text, label
            else:
                yield from self._of_lines([(number, line)])
        self.report.read += parsed

    def _of_lines(self, lines: Iterable[tuple[int, bytes]]) -> Iterator[Placed]:
        path = Path(self.keys.place)
        return self._pick(line_records(path, self.suffix, lines, self.report))

    def _pick(self, records: Iterable[Record]) -> Iterator[Placed]:
        return (placed[1:] for placed in self.keys.pick(records, self.report))


class ExampleBlock(Block):
    """A block whose content is examples, which need no parsing."""

    def examples(self) -> Iterator[Placed]:
        return ((row, text, label) for text, label, row, *_ in self.content)


def blocks(sources: Iterable[File | Dataset], report: ReadReport) -> Iterator[Block]:
    """Read several sources in order and yield them in blocks.

    The boundaries of the blocks depend only on the sources.

    Args:
        sources: in reading order.
        report: receives total and position for the progress bar; rows are counted in
            the reports of the blocks.
    """
    sources = list(sources)
    if all(isinstance(source, File) for source in sources):
        report.total, report.unit = sum(s.path.stat().st_size for s in sources), "B"
    for source in sources:
        if isinstance(source, File) and source.suffix in LINE_FORMATS:
            yield from line_format_blocks(source, report)
        else:
            yield from _of_records(source, report)


def blocks_of(examples: Iterable[Example]) -> Iterator[Block]:
    """Yield blocks of examples; their producer has already counted them."""
    examples, keys = iter(examples), Keys("examples", "", None)
    while batch := list(islice(examples, _EXAMPLES)):
        yield ExampleBlock(keys, "", batch, ReadReport())


def line_format_blocks(
    file: File, report: ReadReport, span: tuple[int, int] | None = None
) -> Iterator[Block]:
    """Yield blocks of a file of lines.

    Args:
        file: of a line format.
        report: receives the position.
        span: if given, only lines that begin in this range of bytes are read.
    """
    content, size = [], 0
    start = begin_of_text(file.path) if span is None else None

    def block() -> Block:
        return Block(file.keys, file.suffix, content, ReadReport(), start)

    for first, lines in line_blocks(file.path, report, span):
        content.append((first, lines))
        size += len(lines)
        if len(lines) > streams.MAX_LINE_BYTES:
            start = None  # a line may be truncated, so offsets no longer add up
        if size >= BLOCK_BYTES:
            yield block()
            content, size, start = [], 0, None if start is None else start + size
    if content:
        yield block()


def _of_records(source: File | Dataset, report: ReadReport) -> Iterator[Block]:
    """Yield blocks of records, each with the counts from reading it."""
    keys, batch, characters, counts = source.keys, [], 0, ReadReport()
    before = report.position
    for row, place, values in source.records(counts):
        kept = {key: values[key] for key in keys[1:] if key in values}
        batch.append((row, place, kept))
        text = kept.get(keys.text)
        characters += len(text) + 1 if isinstance(text, str) else 1
        if characters >= BLOCK_BYTES:
            report.position = before + counts.position
            yield Block(keys, "", batch, counts.take())
            batch, characters = [], 0
    report.position = before + counts.position
    if isinstance(source, Dataset):
        report.total, report.unit = counts.total, counts.unit
    yield Block(keys, "", batch, counts.take())
