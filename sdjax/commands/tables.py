"""What `classify` and `featurize` share where a table goes in and a table comes out."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sdjax.arguments import add_keep_formulas, say_escaped
from sdjax.errors import InputError, naming
from sdjax.locks import locked
from sdjax.portable import stored_metadata
from sdjax.terminal import show

if TYPE_CHECKING:
    from sdjax.data.read_report import ReadReport
    from sdjax.data.tables import Chunk
    from sdjax.features.featurizer import TextFeaturizer


class Source(NamedTuple):
    """Where the rows of a table come from.

    chunks: gives them, called with how many rows a chunk may have and how many rows are
        to be left out.
    described: flat, JSON-able: what tells it from others.
    unchanged: raises an `InputError` where it has changed since.
    """

    chunks: "Callable[[int, int], Iterator[Chunk]]"
    described: Mapping
    unchanged: Callable[[], object] = lambda: None


def add_table(parser: argparse.ArgumentParser, units: str) -> None:
    """Add the flags of a table that is written; `units` is the help of --units."""
    add = parser.add_argument
    add("--units", nargs="+", metavar="[LAYER:]N", help=units)
    add("--prefix", metavar="TEXT", help="before the names of the columns added")
    add_keep_formulas(parser)


def refuse_table(arguments: argparse.Namespace, why: str) -> None:
    """Refuse the flags of `add_table` where nothing would read them.

    Raises:
        InputError: names the first one that is given.
    """
    for flag in ("units", "prefix", "keep_formulas"):
        if getattr(arguments, flag):
            raise InputError(f"--{flag.replace('_', '-')} {why}")


def lock_output(output: Path) -> AbstractContextManager:
    """Make the folder of an output, and hold the output's lock.

    Raises:
        InputError: another process holds it.
        OSError: names the output; the folder cannot be made.
    """
    with naming(output):  # before minutes of work
        output.parent.mkdir(parents=True, exist_ok=True)
        refusal = (
            f"--output {output} is in use: another process writes it; wait for it, or"
            " give another file"
        )
        return locked(output.with_name(f".{output.name}.lock"), refusal)


def write_table(
    arguments: argparse.Namespace,
    source: Source,
    featurizer: "TextFeaturizer",
    added: Callable,
    report,
    *,
    identity: Mapping,
    metadata: Mapping,
    note: Callable = lambda *_: {},
    resumed: Callable[[Mapping], object] = lambda notes: None,
) -> None:
    """Write the table that is asked for, or go on with it; say what was written.

    Args:
        arguments: with `output` and the flags of `add_table`.
        source: of the rows.
        featurizer, added, report, note: as for `features.tables.fill`.
        identity: what tells the result from others, beside the source.
        metadata: of where it comes from, as `stored_metadata` takes it.
        resumed: called with what was noted of the rows that are done.

    Raises:
        InputError: no row has a text that can be used, the input was changed while it
            was read; or as `fill`.
    """
    from sdjax.features import tables
    from sdjax.features.table_work import TableWork

    output, prefix = arguments.output, arguments.prefix or ""
    identity = {**identity, "prefix": prefix, "units": arguments.units}
    identity |= {"ending": output.suffix, **source.described}
    with lock_output(output):
        work = TableWork(output, identity, restart=arguments.restart)
        if work.rows:
            show(f"{work.rows:,} rows are done already; resuming", file=sys.stderr)
        resumed(work.notes)
        chunks = source.chunks(tables.rows_at_once(featurizer), work.rows)
        tables.fill(
            chunks,
            featurizer,
            lambda features: {prefix + k: v for k, v in added(features).items()},
            work,
            report,
            note=note,
        )
        if not report.kept:
            work.discard()
            raise InputError(f"no usable text: {report.summary()}")
        rows, skipped = work.rows, report.as_json()["skipped"]
        source.unchanged()
        about = stored_metadata({**metadata, "skipped": skipped}, output.parent)
        escaped = work.finish(about, arguments.keep_formulas)
    say_written(str(output), rows, report)
    say_escaped(escaped)


def say_written(output: str, rows: int, report: "ReadReport") -> None:
    """Say how many rows a table has, and what of the input could not be used."""
    without = rows - report.kept
    more = f", {without:,} of them without a text that can be used" if without else ""
    show(f"{output}: {rows:,} rows{more}")
    if report.skipped:
        show(report.summary(), file=sys.stderr)
