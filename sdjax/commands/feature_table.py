"""`sdjax featurize` with --units or --keep: a table of columns instead of features.

Unlike a features file, which `sdjax probe` reads, it has every row of the input, those
without a text, too, and columns that other programs know what to do with.
"""

from sdjax.commands.reading import open_texts
from sdjax.commands.spark_table import on_spark, refuse_unread, write_folder
from sdjax.commands.tables import Source, write_table
from sdjax.errors import InputError


def is_wanted(arguments) -> bool:
    """Whether the flags ask for a table."""
    return arguments.units is not None or arguments.keep is not None


def run(arguments) -> None:
    """Write the table, on this machine or on Spark."""
    from sdjax.data.read_report import ReadReport
    from sdjax.features import table_output

    on_a_cluster, writes = arguments.engine == "spark", [arguments.output]
    refuse_unread(arguments, ("restart", "keep_formulas"))
    if on_a_cluster:
        writes = []  # a folder, which is refused where something is in it
    else:
        table_output.check_suffix(arguments.output)
    for flag in ("split", "no_texts"):
        if getattr(arguments, flag):
            name = flag.replace("_", "-")
            raise InputError(
                f"--{name} is of a features file, not of a table: leave it out, or"
                " leave out --units and --keep"
            )
    report = ReadReport()
    opened = open_texts(
        arguments, arguments.input, id_key=arguments.id_key, writes=writes
    )
    write = _on_spark if on_a_cluster else _here
    write(arguments, opened, report)
    report.check(arguments.max_bad_fraction)


def _here(arguments, opened, report) -> None:
    from sdjax.data.tables import numbered, table_chunks

    keep, model = _kept(arguments, opened), _recipe(arguments).open()

    def chunks(most: int, skip: int):
        found = table_chunks(opened, report, most=most, keep=keep, skip=skip)
        return numbered(found, f"{arguments.prefix or ''}row")

    write_table(
        arguments,
        Source(chunks, opened.describe(), opened.watch()),
        model.featurizer,
        model.added,
        report,
        identity={**model.identity, "keep": keep},
        metadata={**model.featurizer.metadata(), "input": arguments.input},
    )


def _on_spark(arguments, opened, report) -> None:
    with on_spark(arguments) as session:
        from sdjax.features.spark import SparkColumns

        prefix = arguments.prefix or ""
        columns = SparkColumns(_recipe(arguments), prefix=prefix)
        write_folder(
            arguments,
            session,
            opened,
            columns,
            report,
            metadata={},
            keep=_kept(arguments, opened),
            numbers=f"{prefix}row",
        )


def _recipe(arguments):
    """Return what makes the features, and columns of them."""
    from sdjax.features.recipe import FeaturizerRecipe, seen_from_anywhere

    units = tuple(arguments.units or ())
    # A layer that is named may be another one than the last.
    layers = "all" if any(":" in unit for unit in units) else arguments.layers
    return FeaturizerRecipe(
        seen_from_anywhere(arguments.checkpoint),
        arguments.state,
        tuple(arguments.pooling),
        layers,
        arguments.batch_size,
        arguments.normalise,
        arguments.precision,
        units,
    )


def _kept(arguments, opened) -> list[str] | None:
    """Return the columns that are kept; None for all of them."""
    if arguments.keep == []:
        return None
    named = [arguments.id_key] if arguments.id_key else []
    return list(dict.fromkeys([*named, *opened.label_keys, *(arguments.keep or ())]))
