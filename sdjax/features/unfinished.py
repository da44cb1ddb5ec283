"""`progress.json` of unfinished work: what it is of, and how far it has come."""

import json
from collections.abc import Mapping
from pathlib import Path

from sdjax.errors import InputError, differences
from sdjax.files import write_whole
from sdjax.integrity import sealed

NAME = "progress.json"
AGAIN = "begin again with --restart"


def save(folder: Path, identity: Mapping, done: Mapping) -> None:
    """Write it; when this returns, what it counts survives a crash.

    Args:
        folder: of the work.
        identity: flat, JSON-able: what the work is of.
        done: JSON-able: how far it has come.
    """
    data = json.dumps(sealed({"identity": identity, **done}), indent=1)
    write_whole(folder / NAME, data.encode(), durable=True)


def refuse_others(folder: Path, what: str, theirs: Mapping, ours: Mapping) -> None:
    """Check that the work in a folder is of what is asked for now.

    Args:
        what: the work is, if it is not.
        theirs, ours: identities.

    Raises:
        InputError: names what differs.
    """
    keys = sorted({*theirs, *ours})
    if found := differences(theirs, {key: ours.get(key) for key in keys}):
        raise InputError(
            f"{folder} holds part of {what}: {'; '.join(found)}; use its options and"
            f" input, or {AGAIN}"
        )
