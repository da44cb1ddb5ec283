"""Formats of which every line is a text: plain, fastText, trees of the SST."""

import re
from collections.abc import Iterable, Iterator

from sdjax.data.formats import lines as line_files
from sdjax.data.formats.layout import Layout, NoLabel, Record, bad_bytes
from sdjax.data.read_report import ReadReport

Lines = Iterable[tuple[int, bytes]]

# The classes of the keys "label" and "five" of a tree; a place is the number in it.
TWO = ("negative", "positive")
FIVE = ("very negative", "negative", "neutral", "positive", "very positive")

_FASTTEXT_LABEL = re.compile(r"__label__(\S+)\s*")
_TREE_TOKEN = re.compile(r"\(([0-4])\s|([^\s()]+)|(\))")
_BRACKETS = {"-LRB-": "(", "-RRB-": ")"}


def skip_giant(layout: Layout, number: int, report: ReadReport) -> None:
    """Count a line that is too long to be a review."""
    report.read += 1
    report.skip("line longer than 64 MiB", f"{layout.stored}:{number}")


def decoded_lines(
    layout: Layout, lines: Lines, report: ReadReport
) -> Iterator[tuple[int, str | None]]:
    """Yield the number and the text of each line; None of one that cannot be used."""
    for number, line in lines:
        if len(line) > line_files.MAX_LINE_BYTES:
            skip_giant(layout, number, report)
            yield number, None
            continue
        report.read += 1
        try:
            yield number, line.decode()
        except UnicodeDecodeError:
            reason, detail = bad_bytes(line, layout.form)
            report.skip(reason, f"{layout.stored}:{number}", detail=detail)
            yield number, None


def text_records(layout: Layout, lines: Lines, report: ReadReport) -> Iterator[Record]:
    """Read lines that are texts."""
    for row, (number, text) in enumerate(decoded_lines(layout, lines, report)):
        if text is not None:
            yield row, number, {"text": text.removesuffix("\r")}


def fasttext_records(
    layout: Layout, lines: Lines, report: ReadReport
) -> Iterator[Record]:
    """Read lines such as `__label__2 The text`."""
    for row, (number, text) in enumerate(decoded_lines(layout, lines, report)):
        if text is None:
            continue
        labels, place = [], 0
        while found := _FASTTEXT_LABEL.match(text, place):
            labels.append(found[1])
            place = found.end()
        label = labels[0] if len(labels) == 1 else None
        if len(labels) > 1:
            label = NoLabel("several labels in a line")
        yield row, number, {"text": text[place:].removesuffix("\r"), "label": label}


def tree_records(layout: Layout, lines: Lines, report: ReadReport) -> Iterator[Record]:
    """Read trees such as `(3 (2 It) (3 works))`: each whole, or all of its phrases."""
    phrases, row = layout.format == "sst-phrases", 0
    for number, text in decoded_lines(layout, lines, report):
        if text is None or not text.strip():
            row += 1
            continue
        try:
            nodes = parse_tree(text)
        except ValueError as error:
            place = f"{layout.stored}:{number}"
            report.skip("malformed tree", place, detail=str(error))
            row += 1
            continue
        report.read += len(nodes) - 1 if phrases else 0
        for label, words in nodes if phrases else nodes[:1]:
            two = NoLabel("neutral") if label == 2 else int(label > 2)
            yield row, number, {"text": words, "label": two, "five": label}
            row += 1


def parse_tree(text: str) -> list[tuple[int, str]]:
    """Return (label, words) of each node of a tree, the whole sentence first.

    Raises:
        ValueError: it is no tree.
    """
    nodes, open_nodes, words, end = [], [], [], 0
    for found in _TREE_TOKEN.finditer(text := text.strip()):
        if text[end : found.start()].strip() or (nodes and not open_nodes):
            raise ValueError(f"{text[end : found.end()]!r} stands outside of a node")
        end = found.end()
        if found[1]:
            open_nodes.append((len(nodes), len(words)))
            nodes.append((int(found[1]), ""))
        elif not open_nodes:
            raise ValueError(f"{found[0]!r} stands outside of a node")
        elif found[2]:
            words.append(_BRACKETS.get(found[2], found[2].replace("\\/", "/")))
        else:
            place, first = open_nodes.pop()
            nodes[place] = nodes[place][0], " ".join(words[first:])
    if open_nodes or end < len(text) or not nodes:
        raise ValueError("its brackets do not close")
    return nodes


LINE_READERS = {
    "text": text_records,
    "fasttext": fasttext_records,
    "sst-trees": tree_records,
    "sst-phrases": tree_records,
}
