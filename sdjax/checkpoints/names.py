"""Names of published weights, each of which stands for a checkpoint."""

import difflib
import functools
import os
import sys
from pathlib import Path

from sdjax.checkpoints import registry
from sdjax.errors import InputError
from sdjax.terminal import show

CACHE = "SDJAX_CACHE"  # the variable that names the folder of downloaded weights


def cache_folder() -> Path:
    """Return the folder of downloaded weights: SDJAX_CACHE, or the user's cache."""
    if named := os.environ.get(CACHE):
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("sdjax"))


def resolve(path: Path) -> Path:
    """Return the folder of the weights that a name stands for; any other path itself.

    A path that exists is taken as it is; if it is also a name, a note says so, once.

    Raises:
        InputError: it is a name, and the weights have not been downloaded; or there is
            nothing of that name, which is almost one.
    """
    name = str(path)
    if name not in registry.KNOWN:
        if near := similar(path):
            raise InputError(f"{path}: there is no such file or folder; {near}")
        return path
    if os.path.lexists(path):
        _note(path.absolute(), name)
        return path
    folder = cache_folder() / name
    if not folder.exists():
        size = registry.KNOWN[name].size
        raise InputError(
            f"{name}: these published weights are not in {folder.parent}, and there is"
            f" no path of that name; run: sdjax download {name} ({size / 1e6:,.0f} MB)"
        )
    return folder


def similar(path: Path) -> str:
    """Say which published weights have almost the name of a path where nothing is.

    Returns:
        Half a sentence; "" where there is something, or no such name.
    """
    if os.path.lexists(path) or len(path.parts) > 1:
        return ""
    near = difflib.get_close_matches(str(path), registry.KNOWN)
    return f"published weights of a similar name: {', '.join(near)}" if near else ""


@functools.cache
def _note(place: Path, name: str) -> None:
    show(
        f"note: {name} is the path {place}, not the published weights of that name",
        file=sys.stderr,
    )
