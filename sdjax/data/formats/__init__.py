"""The formats that texts come in, each read record by record in constant memory.

A record is (row, place, values): its row number from 0, the number of its line from 1
(of its row where there are no lines), its values by key or column. A row that is no
record is counted in the `ReadReport`.
"""

from collections.abc import Iterator

from sdjax.data.formats import columnar, fasta, objects, plain, stars, table_rows
from sdjax.data.formats.layout import Layout, Record
from sdjax.data.formats.lines import line_blocks, lines_of
from sdjax.data.read_report import ReadReport


def file_records(
    layout: Layout,
    report: ReadReport,
    columns: list[str] | None = None,
    span: tuple[int, int] | None = None,
) -> Iterator[Record]:
    """Read all of a file or folder, or the lines that begin in a span of it.

    Args:
        layout: how.
        report: counts what is read.
        columns: read only these where the format allows it.
        span: (start, end) in bytes of a plain file of lines; rows and lines are
            numbered from its first one.
    """
    if layout.columnar:
        return columnar.columnar_records(layout, report, columns)
    if layout.by_lines:
        blocks = line_blocks(layout.stored, layout.form, report, span)
        return line_records(layout, lines_of(blocks), report)
    if layout.format == "csv":
        return table_rows.csv_records(layout, report, columns)
    readers = {
        "json": objects.object_records,
        "fasta": fasta.fasta_records,
        "stars": stars.star_records,
    }
    return readers[layout.format](layout, report)


def line_records(
    layout: Layout, lines: plain.Lines, report: ReadReport
) -> Iterator[Record]:
    """Read some lines of a file of which each line can be read by itself."""
    reader = plain.LINE_READERS.get(layout.format, objects.line_records)
    return reader(layout, lines, report)


def class_names(layout: Layout, key: str) -> tuple[str, ...]:
    """Return the names of the classes that the numbers of a key stand for, or ()."""
    if layout.columnar:
        return columnar.class_names(layout, key)
    known = {
        ("stars", "label"): stars.CLASSES,
        ("sst-trees", "label"): plain.TWO,
        ("sst-phrases", "label"): plain.TWO,
        ("sst-trees", "five"): plain.FIVE,
        ("sst-phrases", "five"): plain.FIVE,
    }
    return known.get((layout.format, key), ())
