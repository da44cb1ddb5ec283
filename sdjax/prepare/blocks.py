"""Blocks: parts of the input, small enough to hand to another process."""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import orjson

from sdjax.data.formats import line_records
from sdjax.data.formats import lines as line_files
from sdjax.data.formats.layout import Layout
from sdjax.data.formats.lines import line_blocks, lines_of, split
from sdjax.data.keys import Keys, Placed
from sdjax.data.labels import as_label
from sdjax.data.parts import Dataset, File
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import Example

BLOCK_BYTES = 16 * 2**20  # bytes of lines, or characters of texts, in one block
BLOCKS = 2  # the rule of where they end: work begun with another is not resumed
_FILES = 4096  # small files in one block
_EXAMPLES = 4096  # in one block, if they do not come from a file


class Block(NamedTuple):
    """A part of a source: lines that are read but not yet parsed, or its examples.

    keys: of the source.
    layout: of the file if `content` holds lines, as yielded by `line_blocks`; None if
        it holds examples.
    content: the lines or examples; after `by_reference`, byte ranges instead of lines.
    report: counts from reading; `examples` adds to them.
    start: byte offset of the lines in an uncompressed file; None if there is none.
    """

    keys: Keys
    layout: Layout | None
    content: list[tuple[int, bytes]] | list[tuple[int, range]] | list[Placed]
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
        """Give the usable examples; `report` counts the others.

        The first of their numbers has no meaning here: lines may be read in any order.
        """
        return iter(self.content) if self.layout is None else self._of_layout()

    def _of_layout(self) -> Iterator[Placed]:
        plain = self.keys.are_plain and len(self.keys.label) < 2
        is_json = self.layout.format == "jsonl" and plain
        for chunk in self._chunks():
            if is_json and len(chunk[1]) <= line_files.MAX_LINE_BYTES:
                yield from self._of_json(chunk)
            else:
                yield from self._of_lines(lines_of([chunk]))

    @property
    def parts(self) -> "list[Block]":
        """The blocks that this one is made of: itself."""
        return [self]

    @property
    def labels(self) -> int:
        """How many labels each of its reviews has."""
        return len(self.keys.label)

    def _chunks(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines; read them from the file if the block has byte ranges."""
        if isinstance(self.content[0][1], bytes):
            yield from self.content
            return
        with self.layout.stored.path.open("rb", buffering=0) as file:
            for first, place in self.content:
                yield first, os.pread(file.fileno(), len(place), place.start)

    def _of_json(self, chunk: tuple[int, bytes]) -> Iterator[Placed]:
        """Parse well-formed lines on a fast path, since this loop takes most time.

        Any other line goes through `_of_lines`, which counts what is wrong with it.
        """
        loads, text, label = orjson.loads, "", None
        (text_key,), (first, lines), parsed = self.keys.text, chunk, 0
        label_key, read = None, as_label
        if self.keys.label:
            (label_key,), (labels,) = self.keys.label, self.keys.labels
            read = labels.read if labels.classes else as_label  # which costs less
        for number, line in enumerate(split(lines), first):
            try:
                values = loads(line)
                text = values[text_key]
                if label_key is not None:
                    label = read(values[label_key])
                    text = text if type(label) is float else None
            except (ValueError, TypeError, KeyError):
                text = None
            if type(text) is str:
                parsed += 1
                yield number, number, text, label
            else:
                yield from self._of_lines([(number, line)])
        self.report.read += parsed

    def _of_lines(self, lines: Iterable[tuple[int, bytes]]) -> Iterator[Placed]:
        records = line_records(self.layout, lines, self.report)
        return self.keys.pick(records, self.report)


class Gathered(NamedTuple):
    """Blocks of small files that one worker gets together."""

    parts: list[Block]

    def by_reference(self) -> "Gathered":
        """Give blocks that cost little to hand over."""
        return Gathered([part.by_reference() for part in self.parts])

    @property
    def labels(self) -> int:
        """How many labels each of its reviews has."""
        return self.parts[0].labels


def blocks(
    sources: Iterable[File | Dataset], report: ReadReport
) -> Iterator[Block | Gathered]:
    """Read several sources in order and yield them in blocks.

    The boundaries of the blocks depend only on the sources. Small files share a block,
    since each block costs the second pass some time.

    Args:
        sources: in reading order.
        report: receives total and position for the progress bar; rows are counted in
            the reports of the blocks.
    """
    sources = list(sources)
    if all(isinstance(source, File) for source in sources):
        report.total, report.unit = sum(source.size for source in sources), "B"
    small, size = [], 0
    for source in sources:
        if isinstance(source, File) and source.layout.by_lines:
            made = line_format_blocks(source, report)
        else:
            made = _of_records(source, report)
        bytes_of = source.size if isinstance(source, File) else BLOCK_BYTES
        if len(sources) == 1 or bytes_of >= BLOCK_BYTES:
            if small:
                yield Gathered(small)
                small, size = [], 0
            yield from made
            continue
        small += made
        size += bytes_of
        if size >= BLOCK_BYTES or len(small) >= _FILES:
            yield Gathered(small)
            small, size = [], 0
    if small:
        yield Gathered(small)


def blocks_of(
    examples: Iterable[Example], label_keys: tuple[str, ...] = ()
) -> Iterator[Block]:
    """Yield blocks of examples; their producer has already counted them.

    Args:
        label_keys: what their labels are called, where they have several.
    """
    examples, keys = iter(examples), Keys("examples", ("text",), label_keys)
    while batch := list(islice(examples, _EXAMPLES)):
        placed = [(e.row, e.row, e.text, e.label) for e in batch]
        yield Block(keys, None, placed, ReadReport())


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
    start = file.layout.form.start if span is None else None

    def block() -> Block:
        return Block(file.keys, file.layout, content, ReadReport(), start)

    for first, lines in line_blocks(file.layout.stored, file.layout.form, report, span):
        content.append((first, lines))
        size += len(lines)
        if len(lines) > line_files.MAX_LINE_BYTES:
            start = None  # a line may be truncated, so offsets no longer add up
        if size >= BLOCK_BYTES:
            yield block()
            content, size, start = [], 0, None if start is None else start + size
    if content:
        yield block()


def _of_records(source: File | Dataset, report: ReadReport) -> Iterator[Block]:
    """Yield blocks of examples, each with the counts from reading them."""
    keys, batch, characters, counts = source.keys, [], 0, ReadReport()
    before = report.position
    for example in keys.pick(source.records(counts), counts):
        characters += len(example[2]) + 1
        batch.append(example)
        if characters >= BLOCK_BYTES:
            report.position = before + counts.position
            yield Block(keys, None, batch, counts.take())
            batch, characters = [], 0
    report.position = before + counts.position
    if isinstance(source, Dataset):
        report.total, report.unit = counts.total, counts.unit
    yield Block(keys, None, batch, counts.take())
