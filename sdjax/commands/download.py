"""Fetch published weights by name, and make a checkpoint of them.

The checkpoint lies in the user's cache, or where SDJAX_CACHE says; its name stands for
it wherever a checkpoint is asked for: sdjax classify openai --unit 2388 "I love it".
"""

import sys
from pathlib import Path

from sdjax.errors import InputError
from sdjax.terminal import show, show_lines


def add_arguments(parser) -> None:
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="such as openai; see --list"
    )
    parser.add_argument(
        "--list", action="store_true", help="what there is, and what is here already"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="instead of the user's cache or SDJAX_CACHE",
    )
    parser.add_argument(
        "--offline", action="store_true", help="use only files that are here already"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="compute values that others published for these weights and compare; the"
        " exit status is 1 where one differs",
    )


def run(arguments) -> int:
    from sdjax.checkpoints import names, registry

    cache = arguments.cache or names.cache_folder()
    if arguments.list:
        if arguments.name or arguments.offline or arguments.check:
            raise InputError("--list goes alone, or with --cache DIR")
        _list(cache)
        return 0
    if arguments.name is None:
        raise InputError("name the weights to download, or ask for --list")
    weights = registry.KNOWN.get(arguments.name)
    if weights is None:
        raise InputError(
            f"{arguments.name}: no weights of that name; there are"
            f" {', '.join(registry.KNOWN)}"
        )
    if isinstance(weights, registry.ByHand):
        return _say_how(weights, cache, arguments.check)
    return _download(weights, cache, arguments)


def _download(weights, cache: Path, arguments) -> int:
    from sdjax.checkpoints import names
    from sdjax.checkpoints.download import download

    folder = download(weights, cache, offline=arguments.offline)
    show(f"checkpoint   {folder}")
    show(f"licence      {weights.licence}")
    for note in weights.notes:
        show(f"note         {note}")
    if cache.absolute() != names.cache_folder().absolute():
        show(
            f"note: the name {weights.name} is looked up in {names.cache_folder()};"
            f" set {names.CACHE}={cache.absolute()}, or give the folder itself",
            file=sys.stderr,
        )
    return _check(weights, folder) if arguments.check else 0


def _check(weights, folder: Path) -> int:
    """Compare what the model computes with what is known of it."""
    from sdjax.features.featurizer import TextFeaturizer
    from sdjax.inference import check

    measured = check.measure(TextFeaturizer(folder, precision="fp32"), weights.checks)
    show_lines(check.table(measured, weights))
    if all(each.agrees for each in measured):
        return 0
    show(
        f"error: {folder} does not compute what is known of {weights.name}; please"
        " report it, with the lines above and the versions of sdjax and jax",
        file=sys.stderr,
    )
    return 1


def _say_how(weights, cache: Path, wants_check: bool) -> int:
    """Tell a person what to fetch and what to do with it; nothing is downloaded."""
    if wants_check:
        raise InputError(f"--check: no values are known for {weights.name}")
    folder = cache / weights.name
    if folder.exists():
        show(f"checkpoint   {folder}")
        return 0
    show(f"{weights.name} lies on a file host that asks questions. In a browser, open")
    show(f"  {weights.address}")
    show(f"and save {weights.expected}, for example as FILE.pt. Then run")
    show(f"  sdjax convert --from {weights.format} FILE.pt --out {folder}")
    show(f"error: {weights.name} was not downloaded", file=sys.stderr)
    return 1


def _list(cache: Path) -> None:
    from sdjax.checkpoints import registry

    rows = [("name", "size", "licence", "here", "source")]
    for weights in registry.KNOWN.values():
        here = "yes" if (cache / weights.name).exists() else "no"
        size = f"{weights.size / 1e6:,.1f} MB"
        rows.append((weights.name, size, weights.licence, here, weights.source))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        show("  ".join(cells).rstrip())
    show(f"in {cache}")
