"""Sources in parts that are small enough to be handed to another process."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sdjax.readers import LINE_FORMATS, Record, line_records
from sdjax.readreport import ReadReport
from sdjax.sources import Dataset, Example, File, Keys, Placed
from sdjax.streams import line_blocks, lines_of

BLOCK_BYTES = 16 * 2**20  # of lines, or characters of records, handed on together
_EXAMPLES = 4096  # that come from no file, handed on together


class Block(NamedTuple):
    """A part of a source.

    keys: of the source that it is a part of.
    suffix: the format if `content` is lines as `line_blocks` yields them, "" if it is
        records.
    content: what has been read and not yet looked at.
    report: what reading has counted; `examples` counts on.
    """

    keys: Keys
    suffix: str
    content: list[tuple[int, bytes]] | list[Record]
    report: ReadReport

    def examples(self) -> Iterator[Placed]:
        """Pick the examples; what cannot be used is counted in `report`."""
        records = self.content
        if self.suffix:
            path, lines = Path(self.keys.place), lines_of(self.content)
            records = line_records(path, self.suffix, lines, self.report)
        return self.keys.pick(records, self.report)


class ExampleBlock(Block):
    """A block whose content is examples, for which there is nothing left to pick."""

    def examples(self) -> Iterator[Placed]:
        return ((row, row, text, label) for text, label, row, *_ in self.content)


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
    for first, lines in line_blocks(file.path, report, span):
        content.append((first, lines))
        size += len(lines)
        if size >= BLOCK_BYTES:
            yield Block(file.keys, file.suffix, content, ReadReport())
            content, size = [], 0
    if content:
        yield Block(file.keys, file.suffix, content, ReadReport())


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
