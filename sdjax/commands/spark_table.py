"""What `classify` and `featurize` share with `--engine spark`: a folder of Parquet."""

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sdjax.commands.tables import lock_output, say_written
from sdjax.errors import InputError
from sdjax.portable import stored_metadata

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sdjax.data.read_report import ReadReport
    from sdjax.data.sources import Input
    from sdjax.features.spark import SparkColumns

_MASTER = "local[*]"


def add_engine(parser: argparse.ArgumentParser, spark: str) -> None:
    """Add the flags that name a cluster; `spark` says what is done there."""
    parser.add_argument(
        "--engine",
        default="embedded",
        choices=("embedded", "spark"),
        help=f"spark: {spark}, with a Spark cluster",
    )
    parser.add_argument(
        "--spark-master",
        help=f"cluster for --engine spark; default: {_MASTER}",
        metavar="URL",
    )


def master_of(arguments: argparse.Namespace) -> str:
    """Return the URL of the cluster of `--engine spark`."""
    return arguments.spark_master or _MASTER


def refuse_master(arguments: argparse.Namespace) -> None:
    """Refuse `--spark-master` where no cluster is used.

    Raises:
        InputError: it is given.
    """
    if arguments.engine != "spark" and arguments.spark_master is not None:
        raise InputError(
            f"--spark-master {arguments.spark_master}: is of --engine spark; leave it"
            " out"
        )


def refuse_unread(arguments: argparse.Namespace, names: Sequence[str]) -> None:
    """Refuse what the engine does not read.

    Args:
        names: of flags that `--engine spark` does not read.

    Raises:
        InputError: one of these flags is given; or no file, or no folder to write.
    """
    refuse_master(arguments)
    if arguments.engine != "spark":
        return
    for name in names:
        if getattr(arguments, name):
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} does not go with --engine spark; leave it out")
    from sdjax.features.table_output import SUFFIXES

    if not arguments.input or arguments.input == "-":
        raise InputError(
            "--engine spark reads files that all workers see: give --input FILE"
        )
    if not arguments.output:
        raise InputError("--engine spark writes a folder: give --output FOLDER")
    if arguments.output.suffix in {*SUFFIXES} - {".parquet"}:
        raise InputError(
            f"{arguments.output}: --engine spark writes a folder of Parquet files; name"
            " a folder"
        )


@contextlib.contextmanager
def on_spark(arguments: argparse.Namespace) -> "Iterator[SparkSession]":
    """Give a session while the output is locked.

    Raises:
        InputError: another process writes it, something is there; or as `session`.
    """
    from sdjax.data.spark import session
    from sdjax.files import refuse_filled

    with lock_output(arguments.output):
        refuse_filled(arguments.output)
        # Before jax is there: its threads do not like it when Java is started.
        with session(master_of(arguments), "sdjax table", progress=True) as spark:
            yield spark


def write_folder(
    arguments: argparse.Namespace,
    spark: "SparkSession",
    opened: "Input",
    columns: "SparkColumns",
    report: "ReadReport",
    *,
    metadata: Mapping,
    keep: Sequence[str] | None = None,
    numbers: str | None = None,
    note: Callable = lambda *_: None,
) -> list:
    """Write the folder that is asked for; say what was written; return the notes.

    Args:
        arguments: with `output`.
        metadata: of where it comes from, beside that of the features.

    All others are as for `features.spark_table.write`, and so is what it raises.
    """
    from sdjax.features import spark_table

    output = arguments.output
    about = {**columns.metadata, **metadata, "input": arguments.input}
    about = json.dumps(stored_metadata(about, output.parent)).encode()
    done = spark_table.write(
        spark,
        opened,
        columns,
        output,
        report,
        keep=keep,
        numbers=numbers,
        metadata=about,
        note=note,
    )
    say_written(f"{output} ({done.files:,} files)", done.rows, report)
    return done.notes
