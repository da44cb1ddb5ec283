"""Open a page on this machine to look at a model: texts, units, samples, tables."""

from pathlib import Path

from sdjax.ranges import COUNT, PORT, add_number
from sdjax.terminal import show


def add_arguments(parser) -> None:
    parser.add_argument(
        "checkpoint",
        type=Path,
        nargs="?",
        help="a run's folder, one checkpoint, or a name such as openai; default: what"
        " the classifier names",
    )
    parser.add_argument(
        "--classifier", type=Path, metavar="FOLDER", help="by sdjax probe or finetune"
    )
    parser.add_argument(
        "--unit", metavar="L:U", help="to begin with: a number, or LAYER:NUMBER"
    )
    parser.add_argument("--precision", help="compute in fp32, bf16 or fp16")
    add_number(
        parser, "--limit", int, COUNT, "of a text", default=2000, metavar="BYTES"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="to listen on; with another, everyone who reaches it can use the model",
    )
    add_number(parser, "--port", int, PORT, "0: any that is free", default=7860)
    parser.add_argument("--open", action="store_true", help="in the browser, too")


def run(arguments) -> None:
    from sdjax.explore.explorer import Explorer
    from sdjax.explore.server import serve

    explorer = Explorer.open(
        arguments.checkpoint,
        arguments.classifier,
        precision=arguments.precision,
        limit=arguments.limit,
    )
    unit = None if arguments.unit is None else explorer.unit(arguments.unit)
    show(f"{explorer.loaded.path}: reading the examples", flush=True)
    serve(
        explorer,
        unit=unit,
        host=arguments.host,
        port=arguments.port,
        open_browser=arguments.open,
    )
