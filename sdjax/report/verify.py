"""Whether a report is still what was written."""

from pathlib import Path

from sdjax.errors import Damaged
from sdjax.integrity import Verdict, opened, read_object
from sdjax.report.write import DATA

_AGAIN = "write it again with sdjax probe"


def verify(folder: Path) -> Verdict:
    """Compare the page, the figures and `report.json` with what was written."""
    path = folder / DATA
    if not path.is_file():
        return Verdict(problems=[f"{path}: is missing; {_AGAIN}"])
    try:
        data = opened(read_object(path), path, _AGAIN)
    except Damaged as error:
        return Verdict(problems=[str(error)])
    except (ValueError, OSError) as error:
        return Verdict(problems=[f"{path}: damaged ({error}); {_AGAIN}"])
    if "digests" not in data:
        return Verdict(without=[f"report {folder}"])
    verdict = Verdict(checked=1)
    verdict.files(folder, data["digests"], _AGAIN)
    return verdict
