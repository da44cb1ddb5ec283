"""The folder that a corpus is written in before it gets its name.

It lies beside the corpus and is locked. It is renamed as a whole, so nobody sees half a
corpus; after an interruption it stays, and the next run for the same corpus goes on.
"""

import contextlib
import errno
import fcntl
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sdjax.data.corpus import MANIFEST, SPLITS
from sdjax.errors import InputError
from sdjax.files import name_folder, sync, write_whole
from sdjax.prepare.workers import WorkerDied

_LOCK, _REQUEST = "lock", "request.json"


@contextlib.contextmanager
def work_folder(folder: Path, request: dict) -> Iterator[Path]:
    """Give the work folder of a corpus, with what an earlier run of `request` left.

    It stays when the run is interrupted or a worker is killed, to be gone on with, and
    is removed in every other case.

    Raises:
        InputError: it cannot be written, another process writes it, the disk is full.
    """
    folder = folder.absolute()
    work = folder.parent / f".{folder.name}.preparing"
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / _LOCK).open("wb")
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); choose another output "
            "folder"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{folder}: another prepare is writing it; wait for that one"
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
    text = json.dumps(manifest, indent=1) + "\n"
    write_whole(corpus / MANIFEST, text.encode(), durable=True)
    sync(corpus)
    try:
        name_folder(corpus, folder)
    except FileExistsError as error:
        raise InputError(
            f"{folder}: was filled by someone else meanwhile; choose another folder"
        ) from error
    sync(folder.absolute().parent)
