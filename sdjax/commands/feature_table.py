"""`sdjax featurize` with --units or --keep: a table of columns instead of features.

Unlike a features file, which `sdjax probe` reads, it has every row of the input, those
without a text, too, and columns that other programs know what to do with.
"""

from sdjax.commands.reading import open_texts
from sdjax.commands.tables import Source, write_table
from sdjax.errors import InputError


def is_wanted(arguments) -> bool:
    """Whether the flags ask for a table."""
    return arguments.units is not None or arguments.keep is not None


def run(arguments) -> None:
    """Write the table."""
    from sdjax.data.read_report import ReadReport
    from sdjax.data.tables import numbered, table_chunks
    from sdjax.features import table_output
    from sdjax.features.featurizer import TextFeaturizer
    from sdjax.features.tables import as_lists
    from sdjax.features.unit_columns import unit_columns

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
        arguments,
        arguments.input,
        id_key=arguments.id_key,
        writes=[arguments.output],
    )
    units = arguments.units or ()
    # A layer that is named may be another one than the last.
    layers = "all" if any(":" in unit for unit in units) else arguments.layers
    featurizer = TextFeaturizer.from_pretrained(
        arguments.checkpoint,
        state=arguments.state,
        pooling=arguments.pooling,
        layers=layers,
        batch_size=arguments.batch_size,
        normalise=arguments.normalise,
        precision=arguments.precision,
    )
    chosen = unit_columns(units, featurizer)

    def added(features) -> dict:
        if not units:
            return {"features": as_lists(features)}
        return {name: features[:, column] for name, column in chosen.items()}

    def chunks(most: int, skip: int):
        found = table_chunks(opened, report, most=most, keep=keep, skip=skip)
        return numbered(found, f"{arguments.prefix or ''}row")

    keep = _kept(arguments, opened)
    write_table(
        arguments,
        Source(chunks, opened.describe(), opened.watch()),
        featurizer,
        added,
        report,
        identity={**featurizer.identity(), "keep": keep},
        metadata={**featurizer.metadata(), "input": arguments.input},
    )
    report.check(arguments.max_bad_fraction)


def _kept(arguments, opened) -> list[str] | None:
    """Return the columns that are kept; None for all of them."""
    if arguments.keep == []:
        return None
    named = [arguments.id_key] if arguments.id_key else []
    return list(dict.fromkeys([*named, *opened.label_keys, *(arguments.keep or ())]))
