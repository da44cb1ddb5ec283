"""What has been found out about a file, and the records that it is read into."""

from typing import Any, NamedTuple

from sdjax.data.formats.compression import Stored
from sdjax.data.formats.lines import TextForm

# Formats of which each line can be read by itself.
LINE_FORMATS = ("text", "fasttext", "sst-trees", "sst-phrases", "jsonl")
# Of these a column is spoken of, of the others a key.
TABLES = ("csv", "parquet", "arrow")

# (row from 0, the number of its line or, without lines, of its row from 1, values).
Record = tuple[int, int, dict[str, Any]]


class Dialect(NamedTuple):
    """How the fields of a table are told apart.

    quoted: quotes hold fields together; False where they mean nothing.
    escape: stands before a quote within quotes; "" where quotes are doubled.
    header: the first row names the columns.
    """

    delimiter: str = ","
    quoted: bool = True
    escape: str = ""
    header: bool = True


class Layout(NamedTuple):
    """All that it takes to read a file.

    Args:
        stored: where its bytes are.
        format: one of `FORMATS`; "jsonl" is JSON with an object on each line, "json"
            is laid out as `shape` says; "csv" is any table of lines; "stars" is a
            folder of aclImdb, "saved" one of `datasets.save_to_disk`.
        form: how its text is written.
        shape: of JSON: "array", "wrapped" (an array within an object), "objects" (one
            after the other, over several lines) or "columns".
        dialect: of a table.
    """

    stored: Stored
    format: str
    form: TextForm = TextForm()
    shape: str = ""
    dialect: Dialect = Dialect()

    @property
    def columnar(self) -> bool:
        """Whether it comes in Arrow's columns."""
        return self.format in ("parquet", "arrow", "saved")

    @property
    def by_lines(self) -> bool:
        """Whether each line can be read by itself."""
        return self.format in LINE_FORMATS


class NoLabel(str):
    """Why a row has no label although there is nothing wrong with it."""


def bad_bytes(data: bytes, form: TextForm) -> tuple[str, str]:
    """Say that some bytes are not what they should be: the reason, and the detail.

    Args:
        data: a line that does not decode.
        form: of its file.
    """
    if form.encoding:
        return f"bytes that are not {form.encoding}", "check --encoding"
    try:
        data.decode()
    except UnicodeDecodeError as error:
        begin = max(0, error.start - 8)
        bad = data[error.start : error.start + 4]
        near = data[begin : error.start + 8].decode("cp1252", "replace")
        detail = (
            f"byte {error.start + 1} of the line is {bad.hex(' ')}; in cp1252 it reads "
            f"{near!r}: if that is right, give --encoding cp1252"
        )
        return "non-UTF-8 bytes", detail
    return "non-UTF-8 bytes", ""
