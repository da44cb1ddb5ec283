"""The folder that a corpus is written in before it gets its name.

It lies beside the corpus and is locked. It is renamed as a whole, so nobody sees half a
corpus. After an interruption it stays, and the next run for the same corpus resumes it.
"""

import contextlib
import errno
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sdjax.data.corpus import MANIFEST, SPLITS
from sdjax.errors import InputError
from sdjax.files import name_folder, sync, write_whole
from sdjax.integrity import Verdict, sealed
from sdjax.locks import locked
from sdjax.prepare.segments import read_marker
from sdjax.prepare.shards import read_entries
from sdjax.prepare.workers import WorkerDied

_LOCK, _REQUEST = "lock", "request.json"


@contextlib.contextmanager
def work_folder(folder: Path, request: dict) -> Iterator[Path]:
    """Give the work folder of a corpus, with what an earlier run of `request` left.

    It stays when the run is interrupted or a worker is killed, so that it can be
    resumed. In every other case it is removed.

    Raises:
        InputError: it cannot be written, another process writes it, the disk is full.
    """
    folder = folder.absolute()
    work = _work_of(folder)
    with contextlib.ExitStack() as stack:
        try:
            work.mkdir(parents=True, exist_ok=True)
            refusal = f"{folder}: another prepare is writing it; wait for that one"
            stack.enter_context(locked(work / _LOCK, refusal))
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be written ({error.strerror}); choose another output"
                " folder"
            ) from error
        keep = False
        try:
            _adopt(work, request)
            yield work
        except (KeyboardInterrupt, WorkerDied):
            keep = True
            raise
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise InputError(
                f"{folder}: disk full while writing; free about twice the size of the "
                "uncompressed reviews or choose another output folder"
            ) from error
        finally:
            if not keep:
                shutil.rmtree(work, ignore_errors=True)


def remove_leftover(folder: Path) -> None:
    """Remove the work folder of a corpus that is complete, if nobody writes there.

    A kill between the corpus getting its name and the end leaves it, and it takes as
    much room as the corpus.
    """
    work = _work_of(folder.absolute())
    if not work.is_dir():
        return
    with contextlib.suppress(InputError, OSError):  # in use, or of somebody else
        with locked(work / _LOCK, "in use"):
            shutil.rmtree(work, ignore_errors=True)


def _work_of(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.preparing"


def verify(work: Path) -> Verdict:
    """Compare the segments and shards of an interrupted prepare with what was written.

    What is damaged is no loss: the next run for the same corpus writes it again.

    Args:
        work: `.<corpus>.preparing`.

    Raises:
        InputError: the folder is not of this kind.
    """
    if not (work / _REQUEST).is_file():
        raise InputError(f"{work}: no interrupted prepare ({_REQUEST} is missing)")
    verdict = Verdict()
    for folder in ("segments", "held"):
        for marker in sorted((work / folder).glob("*.json")):
            _note(verdict, read_marker(marker.with_suffix("")), marker.with_suffix(""))
    for marker in sorted((work / "runs").glob("*.json")):
        _note(verdict, read_entries(marker, work / "corpus"), marker)
    return verdict


def _note(verdict: Verdict, found: object, path: Path) -> None:
    if found is None:
        verdict.problems.append(
            f"{path}: damaged, it is not what was written; prepare again, which writes"
            " it anew"
        )
    else:
        verdict.checked += 1


def _adopt(work: Path, request: dict) -> None:
    """Clear the folder unless it was left by a run of the same request."""
    wanted = json.dumps(request).encode()
    path = work / _REQUEST
    if path.exists() and path.read_bytes() == wanted:
        return
    for other in work.iterdir():
        if other.is_dir():
            shutil.rmtree(other)
        elif other.name != _LOCK:
            other.unlink()
    path.write_bytes(wanted)


def publish(corpus: Path, folder: Path, manifest: dict) -> None:
    """Force a corpus to disk, the manifest last, and rename it into place.

    Args:
        corpus: in a work folder, complete but for the manifest.
        folder: its name; nothing or an empty folder is there.
    """
    files = [path for path in corpus.rglob("*") if path.is_file()]
    with ThreadPoolExecutor(
        16
    ) as pool:  # one by one it would take several times as long
        list(pool.map(sync, [*files, *(corpus / split for split in SPLITS)]))
    text = json.dumps(sealed(manifest), indent=1) + "\n"
    write_whole(corpus / MANIFEST, text.encode(), durable=True)
    sync(corpus)
    try:
        name_folder(corpus, folder)
    except FileExistsError as error:
        raise InputError(
            f"{folder}: was filled by someone else meanwhile; choose another folder"
        ) from error
    sync(folder.absolute().parent)
