"""What a study has done already: a sealed file for each stage, written last.

The folder of a study holds `study.json`, its settings, and a folder for each run. A
stage that left its file is not carried out again; one whose file is missing or damaged
is. So an interrupted study goes on, and machines that share the folder, or to which it
is copied together later, each do a share of the runs.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from sdjax.errors import Damaged, InputError, differences, naming
from sdjax.files import write_whole
from sdjax.integrity import opened, read_object, sealed

SETTINGS = "study.json"
Item = TypeVar("Item")


class Share(NamedTuple):
    """One share of the runs, such as the first of two; by default all of them."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Read "1/2".

        Raises:
            InputError: it is none, or there is no such share.
        """
        number, _, of = text.partition("/")
        if number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of):
            return cls(int(number), int(of))
        raise InputError(f"--only {text}: write the first of two shares as 1/2")

    def of_groups(self, groups: Sequence[Sequence[Item]]) -> list[Item]:
        """Return the items of every `of`-th group; a group stays together."""
        return [item for group in groups[self.number - 1 :: self.of] for item in group]


def begin(folder: Path, settings: Mapping) -> None:
    """Make the folder of a study, or see that it is one of the same settings.

    Args:
        settings: JSON-able; everything that decides what a run gives.

    Raises:
        InputError: it holds a study of other settings, or something else.
        OSError: names the folder; it could not be written.
    """
    path = folder / SETTINGS
    wanted = json.loads(json.dumps(settings))
    if path.exists():
        found = differences(_settings(path), wanted)
        if found:
            raise InputError(
                f"{folder} holds a study of other settings: {'; '.join(found)}; give"
                " another --out"
            )
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there and is no study; give another --out")
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, _as_bytes(wanted))


def _settings(path: Path) -> dict:
    try:
        return opened(read_object(path), path, "give another --out")
    except (ValueError, OSError) as error:
        raise Damaged(f"{path}: damaged ({error}); give another --out") from error


def left(path: Path) -> dict | None:
    """Return what a stage left; None where it left nothing or that is damaged."""
    try:
        return opened(read_object(path), path, "")
    except (OSError, ValueError, Damaged):
        return None


def stage(path: Path, carry_out: Callable[[], Mapping]) -> dict:
    """Return what a stage gives, JSON-able; carry it out unless it is done.

    Args:
        path: of the file that it leaves.
        carry_out: called if there is none that is whole.

    Raises:
        OSError: names `path`; it could not be written.
    """
    found = left(path)
    if found is not None:
        return found
    result = json.loads(json.dumps(carry_out()))
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, _as_bytes(result))
    return result


def _as_bytes(content: Mapping) -> bytes:
    return (json.dumps(sealed(content), indent=1) + "\n").encode()
