"""Score texts with a classifier or one unit, and show what the unit does in them."""

import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sdjax.commands.reading import (
    add_reading,
    open_labelled,
    readable,
    refuse_reading,
)
from sdjax.commands.spark_table import (
    add_engine,
    on_spark,
    refuse_unread,
    write_folder,
)
from sdjax.commands.tables import add_table, refuse_table
from sdjax.errors import InputError
from sdjax.files import make_parent
from sdjax.ranges import COUNT, POSITIVE, Range, add_number
from sdjax.terminal import show, show_lines

if TYPE_CHECKING:
    from sdjax.data.sources import Example

_AT_ONCE = 4096  # texts in memory
_ON_A_PAGE = 1000  # texts


def add_arguments(parser) -> None:
    parser.add_argument(
        "classifier",
        type=Path,
        metavar="CLASSIFIER",
        help="what sdjax probe (<report>/classifier) or finetune wrote; or with --unit"
        " a checkpoint, such as openai",
    )
    parser.add_argument(
        "texts", nargs="*", help="default, and -: standard input, a line each"
    )
    parser.add_argument(
        "--unit",
        metavar="N",
        help="print the value of this unit of a checkpoint, or of LAYER:N",
    )
    add_number(
        parser, "--threshold", float, Range(), "of the unit; default: 0", metavar="X"
    )
    reach = "how far from the threshold the unit's colours saturate; default: 1"
    add_number(parser, "--reach", float, POSITIVE, reach, metavar="X")
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="all that sdjax prepare reads; - for standard input",
    )
    add_reading(parser)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="the rows of the input with their scores, as .parquet, .csv, .tsv, .jsonl",
    )
    add_table(parser, "columns with the values of these, too")
    add_engine(parser, "write a folder of Parquet files")
    restart = "forget what an earlier run has done"
    parser.add_argument("--restart", action="store_true", help=restart)
    parser.add_argument(
        "--explain", action="store_true", help="colour characters by the unit's value"
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="the coloured texts as a page"
    )
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: on a terminal, unless NO_COLOR is set",
    )
    parser.add_argument(
        "--checkpoint", type=Path, help="if it is not where the classifier says"
    )
    parser.add_argument("--precision", help="compute in fp32, bf16 or fp16")
    add_number(parser, "--batch-size", int, COUNT, "texts at once", default=64)


def run(arguments) -> None:
    if arguments.texts and arguments.input:
        raise InputError("give texts or --input FILE, not both")
    if "-" in arguments.texts:
        if len(arguments.texts) > 1:
            raise InputError("- stands for standard input: give it without other texts")
        arguments.texts = []
    elif not arguments.texts and not arguments.input and sys.stdin.isatty():
        raise InputError("no texts: give some, --input FILE, or a pipe")
    if not arguments.input:
        refuse_reading(arguments, "is of --input FILE")
    unread = "explain", "html", "reach", "restart", "keep_formulas"
    refuse_unread(arguments, unread)
    if arguments.engine == "spark":
        _on_spark(arguments)
        return
    if arguments.output:
        from sdjax.features import table_output

        table_output.check_suffix(arguments.output)  # before the model is loaded
    else:
        refuse_table(arguments, "is of --output FILE; give that, too")
        if arguments.restart:
            raise InputError("--restart is of --output FILE; give that, too")

    if arguments.html:
        make_parent(arguments.html)  # before the work

    from sdjax.data.read_report import ReadReport
    from sdjax.inference.measured import Measured
    from sdjax.inference.unit_scoring import open_scorer

    report = ReadReport()
    source = arguments.input
    if arguments.output and not arguments.texts and not source:
        # What comes through a pipe is kept in a file, so that it can be read again.
        source, arguments.format = "-", "text"
    writes = (arguments.output, arguments.html)
    opened = open_labelled(arguments, source, writes=writes) if source else None
    scorer = open_scorer(
        arguments.classifier,
        unit=arguments.unit,
        threshold=arguments.threshold,
        reach=arguments.reach,
        checkpoint=arguments.checkpoint,
        explain=arguments.explain or bool(arguments.html),
        precision=arguments.precision,
        # A sentence does not need the room, and the time, of a whole batch.
        batch_size=min(len(arguments.texts) or 64, arguments.batch_size),
    )
    measured = Measured(scorer.classes, opened.classes if opened else None)
    if arguments.output:
        _write(arguments, opened, scorer, measured, report)
        page = _first_scores(arguments, opened, scorer) if arguments.html else []
    else:
        page = _print(arguments, opened, scorer, measured, report)
    if arguments.html:
        _write_page(arguments.html, scorer, page, report.kept)
    _say_measured(opened if arguments.output else None, measured, report)
    if not arguments.output and (report.skipped or report.left_out):
        show(report.summary(), file=sys.stderr)


def _on_spark(arguments) -> None:
    """Write a folder of the rows of the input with what the scorer says of each."""
    from sdjax.data.read_report import ReadReport
    from sdjax.portable import relative_path

    opened, report = open_labelled(arguments, arguments.input), ReadReport()
    with on_spark(arguments) as session:
        from sdjax.inference import spark
        from sdjax.inference.measured import Measured

        prefix, classifier = arguments.prefix or "", None
        columns = spark.scorer(
            arguments.classifier,
            unit=arguments.unit,
            threshold=arguments.threshold,
            units=arguments.units or (),
            prefix=prefix,
            model=arguments.checkpoint,
            precision=arguments.precision,
            batch_size=arguments.batch_size,
        )
        if arguments.unit is None:
            classifier = relative_path(arguments.classifier, arguments.output.parent)
        measured = Measured(columns.classes, opened.classes)
        notes = write_folder(
            arguments,
            session,
            opened,
            columns,
            report,
            metadata={"classifier": classifier, "unit": arguments.unit},
            note=partial(spark.measure, f"{prefix}called", measured),
        )
    for counts in notes:
        measured.take_up(counts)
    _say_measured(opened, measured, report)


def _say_measured(opened, measured, report) -> None:
    if opened and opened.label_keys and report.kept > measured.labelled:
        without = report.kept - measured.labelled
        show(f"{without:,} texts have no label that can be read")
    if line := measured.line():
        show(line)


def _write(arguments, opened, scorer, measured, report) -> None:
    """Write the rows of the input with what the scorer says of each."""
    from sdjax.commands.tables import Source, write_table
    from sdjax.data.tables import of_texts, table_chunks
    from sdjax.inference.unit_scoring import scored_columns
    from sdjax.portable import relative_path

    def chunks(most: int, skip: int):
        if opened:
            return table_chunks(opened, report, most=most, skip=skip)
        return of_texts(arguments.texts, report, skip=skip)

    def note(chunk, columns) -> dict:
        measured.add(columns[called].to_pylist(), chunk.labels)
        return measured.as_json()

    classifier = None
    if arguments.unit is None:
        classifier = relative_path(arguments.classifier, arguments.output.parent)
    called = f"{arguments.prefix or ''}called"
    if opened:
        source = Source(chunks, opened.describe(), opened.watch())
    else:
        source = Source(chunks, {"texts": arguments.texts})
    write_table(
        arguments,
        source,
        scorer.featurizer,
        scored_columns(scorer, arguments.units or ()),
        report,
        identity={**scorer.identity, "label_key": arguments.label_key},
        metadata={
            **scorer.featurizer.metadata(),
            "classifier": classifier,
            "unit": arguments.unit,
            "input": arguments.input,
        },
        note=note,
        resumed=measured.take_up,
    )


def _print(arguments, opened, scorer, measured, report) -> list:
    """Print a line for each text, or the coloured texts; return the first scores."""
    from sdjax.report import coloured_text
    from sdjax.terminal import wants_colour

    examples = opened.examples(report) if opened else _given(arguments, report)
    if not arguments.texts:  # of what was typed in, the error itself says more
        examples = readable(examples, scorer.normalisation, report)
    colour, first = wants_colour(arguments.color, sys.stdout), []
    while chunk := list(islice(examples, _AT_ONCE)):
        bar = len(chunk) == _AT_ONCE
        scores = scorer.score([e.text for e in chunk], progress=bar)
        measured.add(["|".join(s.called) for s in scores], [e.label for e in chunk])
        if arguments.explain:
            for score in scores:
                show_lines(f"\n{scorer.verdict(score)}")
                traced = scorer.trace(score.text)
                # With colours of our own, round characters that are printable.
                print(coloured_text.in_terminal(traced, scorer.scale, colour))
        else:
            show_lines(scorer.table(scores))
        first += scores[: _ON_A_PAGE - len(first)]
    if not report.kept:
        raise InputError(f"no usable text: {report.summary()}")
    return first


def _first_scores(arguments, opened, scorer) -> list:
    """Return the scores of the first texts, which a table does not keep."""
    from sdjax.data.read_report import ReadReport

    report = ReadReport()
    examples = opened.examples(report) if opened else _given(arguments, report)
    some = islice(readable(examples, scorer.normalisation, report), _ON_A_PAGE)
    return scorer.score([example.text for example in some])


def _write_page(path: Path, scorer, scores: list, count: int) -> None:
    """Write the coloured texts as a page; there are `count` texts in all."""
    from tqdm import tqdm

    from sdjax.files import whole_text
    from sdjax.report import coloured_text

    explained = [
        coloured_text.Explained(scorer.trace(s.text), scorer.verdict(s))
        for s in tqdm(scores, "trace", disable=None, leave=False)
    ]
    with whole_text(path) as file:
        file.write(scorer.page(explained))
    show(f"{path}: {len(scores):,} of {count:,} texts")


def _given(arguments, report) -> "Iterator[Example]":
    """Yield the texts of the command line or of a pipe; count what holds no text."""
    from sdjax.data.sources import Example

    lines = arguments.texts or sys.stdin.buffer
    place = "argument" if arguments.texts else "standard input"
    for row, text in enumerate(lines):
        report.read += 1
        try:
            text = text if isinstance(text, str) else text.decode()
        except UnicodeDecodeError:
            report.skip("non-UTF-8 bytes", f"{place}:{row + 1}")
            continue
        if text.strip():
            yield Example(text.rstrip("\r\n"), None, row)
        else:
            report.skip("empty text", f"{place}:{row + 1}")
