"""Score texts with a classifier or one unit, and show what the unit does in them."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sdjax.arguments import add_keep_formulas, say_escaped
from sdjax.commands.reading import (
    add_reading,
    open_texts,
    readable,
    refuse_reading,
)
from sdjax.errors import InputError
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
    parser.add_argument("texts", nargs="*", help="default: standard input, a line each")
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
        "--output", type=Path, metavar="FILE", help=".csv or .jsonl instead of lines"
    )
    add_keep_formulas(parser)
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
    if not arguments.texts and not arguments.input and sys.stdin.isatty():
        raise InputError("no texts: give some, --input FILE, or a pipe")
    if not arguments.input:
        refuse_reading(arguments, "is of --input FILE")

    from tqdm import tqdm

    from sdjax.data.read_report import ReadReport
    from sdjax.files import row_file, whole_text
    from sdjax.inference import measured as measured_labels
    from sdjax.inference import scoring
    from sdjax.inference.unit_scoring import open_scorer
    from sdjax.report import coloured_text
    from sdjax.terminal import wants_colour

    report = ReadReport()
    opened = open_texts(arguments, arguments.input) if arguments.input else None
    if opened and opened.several:
        raise InputError(f"--label-key {arguments.label_key}: name one label")
    examples = opened.examples(report) if opened else _given(arguments, report)
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
    classes = opened.classes if opened else None
    measured = measured_labels.Measured(scorer.classes, classes)
    if not arguments.texts:  # of what was typed in, the error itself says more
        examples = readable(examples, scorer.normalisation, report)
    colour = wants_colour(arguments.color, sys.stdout)
    on_page = []
    output = arguments.output
    escaped = 0
    keep = arguments.keep_formulas
    with row_file(output, keep) if output else nullcontext() as write:
        while chunk := list(islice(examples, _AT_ONCE)):
            bar = len(chunk) == _AT_ONCE
            scores = scorer.score([e.text for e in chunk], progress=bar)
            true = measured.add(scores, [e.label for e in chunk])
            if write:
                escaped += write(
                    map(scoring.as_row, scores, [e.row for e in chunk], true)
                )
            elif arguments.explain:
                for score in scores:
                    show_lines(f"\n{scorer.verdict(score)}")
                    traced = scorer.trace(score.text)
                    # With colours of our own, round characters that are printable.
                    print(coloured_text.in_terminal(traced, scorer.scale, colour))
            else:
                show_lines(scorer.table(scores))
            on_page += scores[: _ON_A_PAGE - len(on_page)]
        if not report.kept:
            raise InputError(f"no usable text: {report.summary()}")
    if arguments.html:
        explained = [
            coloured_text.Explained(scorer.trace(s.text), scorer.verdict(s))
            for s in tqdm(on_page, "trace", disable=None, leave=False)
        ]
        with whole_text(arguments.html) as file:
            file.write(scorer.page(explained))
        show(f"{arguments.html}: {len(on_page):,} of {report.kept:,} texts")
    if output:
        show(f"{arguments.output}: {report.kept:,} texts")
        say_escaped(escaped)
    if line := measured.line():
        show(line)
    if report.skipped or report.left_out:
        show(report.summary(), file=sys.stderr)


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
