"""Generate text with the model, optionally with units held at a value."""

import shutil
import sys
import time
from pathlib import Path

from sdjax.arguments import add_keep_formulas, add_normalise, say_escaped
from sdjax.data.text import CLEANINGS
from sdjax.errors import InputError
from sdjax.ranges import COUNT, NOT_NEGATIVE, SEED, Range, add_number
from sdjax.terminal import show


def add_arguments(parser) -> None:
    parser.add_argument(
        "checkpoint", type=Path, help="a run's folder or one checkpoint"
    )
    parser.add_argument("--prefix", default="", help="start of every sample")
    add_number(parser, "--samples", int, COUNT, default=1, metavar="N")
    length = "largest number of bytes, or letters of a protein, in a sample"
    add_number(parser, "--length", int, COUNT, length, default=500, metavar="N")
    parser.add_argument(
        "--whole-length",
        action="store_true",
        help="continue after the end of a review, up to --length",
    )
    greedy = "0: greedy decoding"
    add_number(parser, "--temperature", float, NOT_NEGATIVE, greedy, default=0.8)
    nucleus, share = "nucleus sampling", Range(0, 1, above=True)
    add_number(parser, "--top-p", float, share, nucleus, default=1.0, metavar="P")
    add_number(parser, "--seed", int, SEED, default=0)
    parser.add_argument(
        "--unit",
        action="append",
        default=[],
        metavar="N=VALUE",
        help="hold the cell of unit N of the last layer, or of LAYER:N, at a value; may"
        " be repeated; with --classifier also top=+ or top=-",
    )
    parser.add_argument(
        "--classifier",
        type=Path,
        metavar="DIR",
        help="written by sdjax probe or finetune; scores the samples, and provides the"
        " top unit",
    )
    parser.add_argument(
        "--contrast",
        action="store_true",
        help="sample with the classifier's top unit at + and at -, side by side",
    )
    add_number(parser, "--batch-size", int, COUNT, "samples at once", default=64)
    add_normalise(parser, CLEANINGS)
    parser.add_argument("--precision", help="compute in fp32, bf16 or fp16")
    parser.add_argument("--out", type=Path, metavar="FILE", help=".csv or .jsonl")
    add_keep_formulas(parser)


def run(arguments) -> None:
    from sdjax.checkpoints.load import load_model
    from sdjax.files import check_row_path, row_file
    from sdjax.inference import steering
    from sdjax.inference.sampling import Sampling, generate, unit_text
    from sdjax.inference.scoring import Scorer
    from sdjax.model.classifier import Classifier

    sampling = Sampling(
        length=arguments.length,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        seed=arguments.seed,
        whole_length=arguments.whole_length,
    )
    if arguments.contrast and arguments.classifier is None:
        raise InputError("--contrast needs --classifier, which names the top unit")
    if arguments.out is not None:
        check_row_path(arguments.out)  # fail before the work, not after it
    classifier = arguments.classifier and Classifier.load(arguments.classifier)
    hold = steering.conditions(arguments.unit, classifier, arguments.contrast)
    loaded = load_model(arguments.checkpoint, arguments.precision)
    scorer = classifier and Scorer(classifier, loaded)

    normalisation = loaded.meta.normalisation
    start = time.perf_counter()
    written = generate(
        loaded.model,
        loaded.params,
        normalisation.cleaned_by(arguments.normalise),
        prefix=arguments.prefix,
        samples=arguments.samples,
        hold=hold,
        sampling=sampling,
        batch_size=arguments.batch_size,
        progress=sys.stderr.isatty(),
    )
    seconds = time.perf_counter() - start
    rows = [
        {
            "sample": number,
            "held": {unit_text(unit): value for unit, value in held.items()},
            "text": arguments.prefix + text,
        }
        for held, texts in zip(hold, written, strict=True)
        for number, text in enumerate(texts)
    ]
    if scorer:
        scores = scorer.score([row["text"] for row in rows])
        for row, score in zip(rows, scores, strict=True):
            row["called"] = list(score.called)
            row["probabilities"] = score.probabilities
    if arguments.out is not None:
        flat = arguments.out.suffix == ".csv"
        with row_file(arguments.out, arguments.keep_formulas) as write:
            escaped = write(map(_flat, rows) if flat else rows)
        show(f"{arguments.out}: {len(rows):,} samples")
        say_escaped(escaped)
    elif arguments.contrast:
        _print_pairs(steering.headings(classifier, hold), rows)
    else:
        _print_all(rows)
    if scorer:
        for line in steering.shares(classifier, hold, scores):
            show(line)
    count = sum(len(text.encode()) for texts in written for text in texts)
    show(
        f"{len(rows):,} samples, {count:,} characters in {seconds:.1f} s:"
        f" {count / seconds:,.0f} ch/s, including compilation",
        file=sys.stderr,
    )


def _flat(row: dict) -> dict:
    """Return a row as a table has it: a column for each probability, as `classify`."""
    held = " ".join(f"{unit}={value:g}" for unit, value in row["held"].items())
    flat = {"sample": row["sample"], "held": held, "text": row["text"]}
    if "called" in row:
        flat["called"] = "|".join(row["called"])
        flat |= {f"p_{name}": p for name, p in row["probabilities"].items()}
    return flat


def _print_all(rows: list[dict]) -> None:

    for row in rows:
        for line in row["text"].split("\n"):
            show(line)
        show(f"({', '.join(row['called'])})" if "called" in row else "")
        if "called" in row:
            show("")


def _print_pairs(headings: list[str], rows: list[dict]) -> None:
    from sdjax.terminal import side_by_side

    half = len(rows) // 2
    texts = [row["text"] for row in rows]
    pairs = zip(texts[:half], texts[half:], strict=True)
    columns = shutil.get_terminal_size((100, 24)).columns
    for line in side_by_side(headings, list(pairs), columns):
        show(line)
