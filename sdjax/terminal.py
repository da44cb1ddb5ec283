"""Text for a terminal: colours, columns, and removal of control characters."""

import os
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TextIO

_RESET = "\x1b[0m"
_GAP = "  |  "


def wants_colour(choice: str, stream: TextIO) -> bool:
    """Tell whether to write colours to a stream.

    Args:
        choice: "always", "never" or "auto". With "auto" there are colours on a
            terminal, unless NO_COLOR is set (no-color.org) or TERM is "dumb".
        stream: to write to.
    """
    if choice != "auto":
        return choice == "always"
    dumb = os.environ.get("TERM") == "dumb"
    return stream.isatty() and not os.environ.get("NO_COLOR") and not dumb


def printable(text: str) -> str:
    """Replace characters that would not be shown but obeyed, or that hide others.

    These are control characters, which could move the cursor or change colours, and
    those that turn the direction of writing, which could make a name look like another
    one. White space, including line ends, becomes blanks. The length does not change.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        " " if c.isspace() else "\ufffd" if _is_unsafe(c) else c for c in text
    )


def _is_unsafe(character: str) -> bool:
    return character in _DIRECTIONS or unicodedata.category(character) in _UNSAFE


_UNSAFE = {"Cc", "Cs", "Zl", "Zp"}
# Marks, embeddings, overrides and isolates of bidirectional text.
_DIRECTIONS = {
    *"\u061c\u200e\u200f",
    *(chr(c) for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
}


def show(text: object, *, file: TextIO | None = None, flush: bool = False) -> None:
    """Print one line, whatever is in it: everything that sdjax prints comes here.

    Args:
        text: names, texts and messages of files may be part of it.
        file: standard output by default.
        flush: at once.
    """
    print(printable(str(text)), file=file or sys.stdout, flush=flush)


def show_lines(text: object, *, file: TextIO | None = None, flush: bool = False):
    """Print several lines as `show`; what stands within a line came through it."""
    for line in str(text).split("\n"):
        show(line, file=file, flush=flush)


def on_background(text: str, red: int, green: int, blue: int) -> str:
    """Return dark text on a 24-bit background colour, 0 to 255 for each channel."""
    return f"\x1b[48;2;{red};{green};{blue}m\x1b[38;2;16;16;16m{text}{_RESET}"


def width(text: str) -> int:
    """Return the number of terminal cells that a text occupies."""
    return sum(_cells(c) for c in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) == "Cf":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def wrap(text: str, columns: int) -> list[str]:
    """Break a text into lines of at most `columns` cells, at blanks if possible."""
    lines, line = [], ""
    for word in text.split():
        if line and width(line) + 1 + width(word) <= columns:
            line += " " + word
            continue
        if line:
            lines.append(line)
        *full, line = _pieces(word, columns)
        lines += full
    return [*lines, line] if line or not lines else lines


def _pieces(word: str, columns: int) -> list[str]:
    pieces, used = [""], 0
    for character in word:
        size = _cells(character)
        if used + size > columns and pieces[-1]:
            pieces.append("")
            used = 0
        pieces[-1] += character
        used += size
    return pieces


def side_by_side(
    headings: Sequence[str], rows: Sequence[Sequence[str]], columns: int
) -> Iterator[str]:
    """Yield the lines of a table whose cells are wrapped texts.

    Args:
        headings: one for each column.
        rows: each with one text per column.
        columns: width of the terminal in cells.
    """
    each = max(12, (columns - len(_GAP) * (len(headings) - 1)) // len(headings))

    def line(cells: Sequence[str]) -> str:
        padded = (cell + " " * (each - width(cell)) for cell in cells)
        return _GAP.join(padded).rstrip()

    for number, row in enumerate([headings, *rows]):
        blocks = [wrap(printable(text), each) for text in row]
        for i in range(max(map(len, blocks))):
            yield line([block[i] if i < len(block) else "" for block in blocks])
        yield _GAP.strip().join(["-" * (each + 2)] * len(row)) if not number else ""
