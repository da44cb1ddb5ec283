"""Paths in artefacts: relative, so that a tree can be moved, or a name, or nothing.

In memory the metadata of an artefact has `checkpoint`, a path that opens from here. In
the file it is relative to the file's folder, where both lie in one tree; a model of a
hub is known by its name (`checkpoint_name`) instead. The hash of the parameters
(`params_sha256`) is always there, and decides whether what is found is the right one.
"""

import os
from collections.abc import Mapping
from pathlib import Path

_SHOWN = 3  # parts of a path: <run>/checkpoints/<step>
_STORED = "checkpoint_path"  # the key of the relative path in a file


def relative_path(path: str | os.PathLike, folder: Path) -> str | None:
    """Return a path as seen from a folder; None where only the root holds both."""
    path, folder = os.path.realpath(path), os.path.realpath(folder)
    try:
        shared = os.path.commonpath([path, folder])
    except ValueError:  # on different drives
        return None
    if shared == os.path.dirname(shared):
        return None
    return Path(os.path.relpath(path, folder)).as_posix()


def stored_metadata(metadata: Mapping, folder: Path) -> dict:
    """Return metadata as it is written to a file in a folder, without absolute paths.

    Args:
        metadata: in memory: `checkpoint` is a path that opens from here.
        folder: of the file.
    """
    stored = {k: v for k, v in metadata.items() if k != "checkpoint"}
    path = metadata.get("checkpoint")
    if path and not metadata.get("checkpoint_name"):
        stored |= {_STORED: relative_path(path, folder)}
    if source := metadata.get("input"):
        stored["input"] = source_name(source)
    return {key: value for key, value in stored.items() if value is not None}


def read_metadata(stored: Mapping, folder: Path) -> dict:
    """Return metadata as it is used, from what `stored_metadata` gave.

    What an older version wrote has its path as it was given then, and keeps it.
    """
    metadata = {key: value for key, value in stored.items() if key != _STORED}
    if isinstance(path := stored.get(_STORED), str):
        metadata["checkpoint"] = path_from(folder, path)
    return metadata


def path_from(folder: Path, path: str) -> str:
    """Return the path that `relative_path` gave, as it opens from here.

    What is above a folder is above the folder itself, not above a link to it.
    """
    real = os.path.realpath(folder)
    if real != os.path.abspath(folder):
        folder = real
    return os.path.normpath(os.path.join(folder, path))


def source_name(source: str) -> str:
    """Return how an input is named in an artefact: without the folders it lies in.

    `hf:owner/name` and the like, and what is not absolute, stay as they are.
    """
    first, separator, member = source.partition("::")
    if not os.path.isabs(first):
        return source
    return f"{Path(first).name}{separator}{member}"


def shown_metadata(metadata: Mapping) -> dict:
    """Return metadata as a page shows it, without absolute paths."""
    shown = {key: value for key, value in metadata.items() if key != "checkpoint"}
    if where := checkpoint_shown(metadata):
        shown["checkpoint"] = where
    if source := metadata.get("input"):
        shown["input"] = source_name(source)
    return shown


def checkpoint_shown(metadata: Mapping) -> str | None:
    """Return how a page names a checkpoint: by its name, or the end of its path."""
    if name := metadata.get("checkpoint_name"):
        return name
    path = metadata.get("checkpoint")
    return "/".join(Path(path).parts[-_SHOWN:]).lstrip("/") if path else None


def without_folders(text: str, metadata: Mapping) -> str:
    """Return a message about a checkpoint without the folders that it lies in."""
    parents = Path(metadata.get("checkpoint") or "").parents
    if len(parents) < _SHOWN + 1:
        return text
    return text.replace(f"{parents[_SHOWN - 1]}{os.sep}", "")
