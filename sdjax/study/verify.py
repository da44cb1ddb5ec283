"""Whether a study is still what was written."""

from pathlib import Path

from sdjax.errors import Damaged
from sdjax.integrity import Verdict, opened, read_object
from sdjax.study.page import RESULTS
from sdjax.study.stages import SETTINGS

_AGAIN = "delete it and give the command of the study again"


def is_study(folder: Path) -> bool:
    """Tell a study by its settings."""
    return (folder / SETTINGS).is_file()


def verify(folder: Path) -> Verdict:
    """Compare settings, what stages left, page and figures with what was written.

    Corpora, checkpoints and features of the runs are artefacts of their own.
    """
    verdict = Verdict()
    paths = [folder / SETTINGS, *sorted(folder.glob("runs/*/*.json"))]
    for path in [*paths, *folder.glob(RESULTS)]:
        verdict.attempt(lambda p=path: _read(p))
    results = folder / RESULTS
    if results.is_file() and not verdict.problems:
        verdict.files(folder, _read(results)["digests"], _AGAIN)
    return verdict


def _read(path: Path) -> dict:
    try:
        return opened(read_object(path), path, _AGAIN)
    except ValueError as error:
        raise Damaged(f"{path}: damaged ({error}); {_AGAIN}") from error
