"""Find which unit of a model follows each property of texts, and show it on a page.

Properties that need no labels (quotes, numbers, sentences, ...), the labels of
--label-key, and those of --property are compared with every unit, character by
character.
"""

from pathlib import Path

from sdjax.arguments import add_normalise
from sdjax.commands.reading import add_reading, open_texts, readable
from sdjax.data.text import CLEANINGS
from sdjax.errors import InputError
from sdjax.ranges import COUNT, SEED, add_number
from sdjax.terminal import show


def add_arguments(parser) -> None:
    parser.add_argument(
        "checkpoint",
        type=Path,
        help="run folder, <run>/checkpoints/<step> or published",
    )
    parser.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="FILE",
        help="all that sdjax prepare reads",
    )
    add_reading(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE.html", help="the page"
    )
    parser.add_argument(
        "--property",
        action="append",
        default=[],
        metavar="NAME=REGEX",
        help="holds at the matches of a regular expression; may be given again",
    )
    parser.add_argument(
        "--unit",
        action="append",
        default=[],
        metavar="[LAYER:]NUMBER",
        help="show this one, too; may be given again",
    )
    many = "read texts until they have so many"
    add_number(parser, "--characters", int, COUNT, many, default=2_000_000, metavar="N")
    parser.add_argument(
        "--state", choices=("cell", "hidden"), default="cell", help="of the units"
    )
    drawn = "how often the score of chance is drawn"
    add_number(parser, "--permutations", int, COUNT, drawn, default=20, metavar="N")
    add_number(parser, "--seed", int, SEED, default=0)
    add_number(parser, "--batch-size", int, COUNT, "texts at once", default=64)
    parser.add_argument("--precision", help="compute in fp32, bf16 or fp16")
    add_normalise(parser, CLEANINGS)


def run(arguments) -> None:
    import sys

    from sdjax.checkpoints.load import load_model
    from sdjax.data.read_report import ReadReport
    from sdjax.features.columns import named_unit
    from sdjax.files import whole_text
    from sdjax.inference.units.find import find_units
    from sdjax.report import units_page

    if arguments.out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out {arguments.out}: name a file that ends in .html")
    patterns = _patterns(arguments.property)
    loaded = load_model(arguments.checkpoint, arguments.precision)
    model = loaded.model
    named = (
        named_unit(text, model.num_layers, model.hidden_size, "--unit")
        for text in arguments.unit
    )
    units = [layer * model.hidden_size + number for layer, number in named]
    opened = open_texts(arguments, arguments.input, writes=[arguments.out])
    normalisation = loaded.meta.normalisation.cleaned_by(arguments.normalise)
    report, examples, count = ReadReport(), [], 0
    for example in readable(opened.examples(report), normalisation, report):
        examples.append(example)
        count += len(example.text)
        if count >= arguments.characters:
            break
    labels = [example.label for example in examples]
    rows = labels if opened.several else [(label,) for label in labels]
    columns = {
        name: [row[i] for row in rows] for i, name in enumerate(opened.label_keys)
    }
    found = find_units(
        loaded,
        [example.text for example in examples],
        columns=columns,
        patterns=patterns,
        units=units,
        state=arguments.state,
        normalise=arguments.normalise,
        permutations=arguments.permutations,
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        progress=sys.stderr.isatty(),
    )
    with whole_text(arguments.out) as file:
        file.write(units_page.page(found))
    for line in units_page.table(found):
        show(line)
    for name, why in found.left_out:
        show(f"{name}: left out, {why}")
    show(
        f"{arguments.out}: {len(found.properties)} properties, {found.units:,} units,"
        f" chosen on {found.characters[0]:,} characters of {found.texts[0]:,} texts,"
        f" scored on {found.characters[1]:,} of {found.texts[1]:,}"
    )
    if report.skipped or report.left_out:
        show(report.summary(), file=sys.stderr)


def _patterns(properties: list[str]) -> dict[str, str]:
    found = {}
    for text in properties:
        name, equals, expression = text.partition("=")
        if not (name and equals and expression):
            raise InputError(f"--property {text}: write it as NAME=REGEX")
        if name in found:
            raise InputError(f"--property {name} is given twice")
        found[name] = expression
    return found
