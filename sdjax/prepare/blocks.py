"""Sources in parts that are small enough to be handed to another process."""

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

BLOCK_BYTES = 16 * 2**20  # of lines, or characters of records, handed on together
# An example with the place that messages name: (place, text, label).
Placed = tuple[int | str, str, float | None]
_EXAMPLES = 4096  # that come from no file, handed on together


class Block(NamedTuple):
    """A part of a source.

    keys: of the source that it is a part of.
    suffix: the format if `content` is lines as `line_blocks` yields them, "" if it is
        records.
    content: what has been read and not yet looked at; `by_reference` puts in the place
        of lines where in the file they begin and end.
    report: what reading has counted; `examples` counts on.
    start: where lines begin in a file that has them as they are here, else None.
    """

    keys: Keys
    suffix: str
    content: list[tuple[int, bytes]] | list[tuple[int, range]] | list[Record]
    report: ReadReport
    start: int | None = None

    def by_reference(self) -> "Block":
        """Give a block that costs little to hand over and is read where it is used."""
        if self.start is None:
            return self
        begin, content = self.start, []
        for first, lines in self.content:
            content.append((first, range(begin, begin + len(lines))))
            begin += len(lines)
        return self._replace(content=content)

    def examples(self) -> Iterator[Placed]:
        """Pick the examples; what cannot be used is counted in `report`."""
        if not self.suffix:
            yield from self._pick(self.content)
        for chunk in self._chunks() if self.suffix else ():
            if self.suffix in JSON_FORMATS and len(chunk[1]) <= streams.MAX_LINE_BYTES:
                yield from self._of_json(chunk)
            else:
                yield from self._of_lines(lines_of([chunk]))

    def _chunks(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines, from the file if only their place is known."""
        if isinstance(self.content[0][1], bytes):
            yield from self.content
            return
        with Path(self.keys.place).open("rb", buffering=0) as file:
            for first, place in self.content:
                yield first, os.pread(file.fileno(), len(place), place.start)

    def _of_json(self, chunk: tuple[int, bytes]) -> Iterator[Placed]:
        """Pick at once what is as it should be: this is where the time goes."""
        loads, (_, text_key, label_key), text, label = orjson.loads, self.keys, "", None
        (first, lines), usual = chunk, 0
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
                usual += 1
                yield number, text, label
            else:
                yield from self._of_lines([(number, line)])
        self.report.read += usual

    def _of_lines(self, lines: Iterable[tuple[int, bytes]]) -> Iterator[Placed]:
        path = Path(self.keys.place)
        return self._pick(line_records(path, self.suffix, lines, self.report))

    def _pick(self, records: Iterable[Record]) -> Iterator[Placed]:
        return (placed[1:] for placed in self.keys.pick(records, self.report))


class ExampleBlock(Block):
    """A block whose content is examples, for which there is nothing left to pick."""

    def examples(self) -> Iterator[Placed]:
        return ((row, text, label) for text, label, row, *_ in self.content)


def blocks(sources: Iterable[File | Dataset], report: ReadReport) -> Iterator[Block]:
    """Read several sources one after the other, in blocks.

    Where the blocks are cut is a function of the sources.

    Args:
        sources: in the order in which they are read.
        report: gets the total and the position; the blocks count the rows.
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
    """Make blocks of examples, which whoever yields them has counted."""
    examples, keys = iter(examples), Keys("examples", "", None)
    while batch := list(islice(examples, _EXAMPLES)):
        yield ExampleBlock(keys, "", batch, ReadReport())


def line_format_blocks(
    file: File, report: ReadReport, span: tuple[int, int] | None = None
) -> Iterator[Block]:
    """Read a file of lines, or the lines that begin within a span of bytes of it."""
    content, size = [], 0
    start = begin_of_text(file.path) if span is None else None

    def block() -> Block:
        return Block(file.keys, file.suffix, content, ReadReport(), start)

    for first, lines in line_blocks(file.path, report, span):
        content.append((first, lines))
        size += len(lines)
        if len(lines) > streams.MAX_LINE_BYTES:
            start = None  # a line may have been cut short
        if size >= BLOCK_BYTES:
            yield block()
            content, size, start = [], 0, None if start is None else start + size
    if content:
        yield block()


def _of_records(source: File | Dataset, report: ReadReport) -> Iterator[Block]:
    """Gather records, and what reading counts meanwhile."""
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
