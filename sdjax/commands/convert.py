"""Convert weights of other projects to a checkpoint, and a checkpoint to theirs."""

import sys
from pathlib import Path

from sdjax.errors import InputError
from sdjax.terminal import show

# The module of each format, within sdjax.checkpoints.
FORMATS = {
    "openai": "convert.openai",
    "nvidia": "convert.nvidia",
    "unirep": "convert.unirep",
    "safetensors": "published",
}


def add_arguments(parser) -> None:
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument(
        "--from",
        dest="origin",
        choices=FORMATS,
        help="read PATH in this format and write a checkpoint to --out",
    )
    way.add_argument(
        "--to",
        dest="target",
        choices=FORMATS,
        help="read the run or checkpoint PATH and write this format to --out",
    )
    parser.add_argument(
        "path", type=Path, metavar="PATH", help="what to convert: a file or a folder"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="must not exist yet"
    )
    parser.add_argument(
        "--fold",
        action="store_true",
        help="with --to: apply weight norm and write plain weights",
    )


def run(arguments) -> None:
    from sdjax.files import refuse_existing

    if arguments.fold and arguments.origin:
        raise InputError("--fold goes with --to: --from keeps the weights unchanged")
    refuse_existing(arguments.out)
    if arguments.origin:
        _read(arguments)
    else:
        _write(arguments)


def _format(name: str):
    from importlib import import_module

    return import_module(f"sdjax.checkpoints.{FORMATS[name]}")


def _read(arguments) -> None:
    from sdjax.checkpoints.convert.to_checkpoint import write_checkpoint

    imported = _format(arguments.origin).read(arguments.path)
    write_checkpoint(imported, arguments.out)
    for note in imported.source.get("notes", []):
        show(f"note: {note}", file=sys.stderr)
    show(f"model        {_described(imported.model)}")
    show(f"checkpoint   {arguments.out}")
    if imported.classifier:
        classes = ", ".join(imported.classifier.classes)
        show(f"classifier   {arguments.out / 'classifier'} ({classes})")


def _write(arguments) -> None:
    from sdjax.checkpoints.load import load_model
    from sdjax.model.language_model import fold_weight_norm

    loaded = load_model(arguments.path)
    model, params = loaded.model, loaded.params
    if arguments.fold:
        model = model.clone(use_weight_norm=False)
        params = fold_weight_norm(params)
    # Only the published format has room for metadata.
    meta = {"meta": loaded.meta} if arguments.target == "safetensors" else {}
    write = _format(arguments.target).write
    write(model, params, loaded.meta.normalisation, arguments.out, **meta)
    show(f"checkpoint   {loaded.path}")
    show(f"model        {_described(model)}")
    show(f"{arguments.target:<12} {arguments.out}")


def _described(model) -> str:
    layers = f"{model.num_layers} layers of " if model.num_layers > 1 else ""
    norm = "with weight norm" if model.use_weight_norm else "without weight norm"
    return (
        f"{model.cell}, {layers}{model.hidden_size:,} units, vocabulary of"
        f" {model.vocabulary_size}, {norm}"
    )
