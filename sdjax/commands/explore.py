"""Open a page on this machine to look at a model: texts, units, samples, tables."""

from pathlib import Path

from sdjax.errors import InputError


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
    parser.add_argument(
        "--limit",
        type=int,
        default=2000,
        metavar="BYTES",
        help="of a text; default: 2000",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="to listen on; with another, everyone who reaches it can use the model",
    )
    parser.add_argument(
        "--port", type=int, default=7860, help="0: any that is free; default: 7860"
    )
    parser.add_argument("--open", action="store_true", help="in the browser, too")


def run(arguments) -> None:
    if not 0 <= arguments.port < 2**16:
        raise InputError(f"--port {arguments.port}: must be from 0 to {2**16 - 1}")

    from sdjax.explore.explorer import Explorer
    from sdjax.explore.server import serve

    explorer = Explorer.open(
        arguments.checkpoint,
        arguments.classifier,
        precision=arguments.precision,
        limit=arguments.limit,
    )
    unit = None if arguments.unit is None else explorer.unit(arguments.unit)
    print(f"{explorer.loaded.path}: reading the examples", flush=True)
    serve(
        explorer,
        unit=unit,
        host=arguments.host,
        port=arguments.port,
        open_browser=arguments.open,
    )
