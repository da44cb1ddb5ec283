"""Whether a report is still what was written."""

import json
from pathlib import Path

from sdjax.errors import Damaged, InputError
from sdjax.integrity import Verdict, opened, read_object
from sdjax.report.write import DATA, PAGE

_AGAIN = "write it again with sdjax probe"


def is_report(folder: Path) -> bool:
    """Tell a report, or what is left of one, by its files."""
    return any((folder / name).is_file() for name in (PAGE, DATA))


def verify(folder: Path) -> Verdict:
    """Compare the page, the figures and `report.json` with what was written."""
    path = folder / DATA
    if not path.is_file():
        return Verdict(problems=[f"{path}: is missing; {_AGAIN}"])
    try:
        data = opened(read_object(path), path, _AGAIN)
    except Damaged as error:
        return Verdict(problems=[str(error)])
    except (InputError, json.JSONDecodeError, ValueError, OSError) as error:
        return Verdict(problems=[f"{path}: damaged ({error}); {_AGAIN}"])
    if "digests" not in data:
        return Verdict(without=[f"report {folder}"])
    verdict = Verdict(checked=1)
    verdict.files(folder, data["digests"], _AGAIN)
    return verdict
