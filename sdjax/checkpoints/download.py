"""Published weights, fetched into a cache and made a checkpoint there.

What arrives is the folder `<cache>/<name>` in the published form, or nothing. The files
as they were published lie in `<cache>/<name>.files` until then; each is whole there, so
an interrupted download goes on with the next one.
"""

import errno
import hashlib
import importlib
import json
import logging
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from sdjax.checkpoints import published
from sdjax.checkpoints.load import model_config
from sdjax.checkpoints.meta import Meta
from sdjax.checkpoints.registry import Weights
from sdjax.errors import InputError, naming
from sdjax.locks import locked
from sdjax.terminal import show

TIMEOUT = 30.0  # seconds without a byte
RETRIES = 3
_CHUNK = 2**20
_BUSY = (408, 429)  # what a server answers that may be asked again


def blob_id(path: Path) -> str:
    """Return the id that git gives a file: SHA-1 of its size and its content."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def files_folder(weights: Weights, cache: Path) -> Path:
    """Return where the files lie as they were published, until they are converted."""
    return cache / f"{weights.name}.files"


def download(
    weights: Weights, cache: Path, *, offline: bool = False, progress: bool = True
) -> Path:
    """Return the folder of published weights; fetch and convert what is not there.

    Args:
        weights: of the registry.
        cache: the folder of all downloaded weights; created if it does not exist.
        offline: use only files that are here already.
        progress: show a progress bar on standard error.

    Raises:
        InputError: a file is not what was published, cannot be reached, or is missing
            with `offline`; something else has the place of the checkpoint; another
            process downloads the same weights.
        OSError: names the cache; it cannot be written, or has too little room.
    """
    folder = cache / weights.name
    with naming(cache):
        cache.mkdir(parents=True, exist_ok=True)
        lock = locked(
            cache / f".{weights.name}.lock",
            f"{folder} is in use: another process downloads {weights.name}; wait until"
            " it is done",
        )
    with lock:
        for left in cache.glob(f".{weights.name}.*.tmp"):  # by a killed process
            shutil.rmtree(left, ignore_errors=True)
        if _is_whole(weights, folder):
            return folder
        files = files_folder(weights, cache)
        with naming(files):
            files.mkdir(exist_ok=True)
            missing = _missing(weights, files)
        if missing and offline:
            raise InputError(
                f"{weights.name} is not in {cache}, and --offline fetches nothing:"
                f" {len(missing)} of {len(weights.files)} files are missing or not"
                f" whole; put {', '.join(missing[:3])}{', ...' if missing[3:] else ''}"
                f" of {weights.address} into {files}, or run it without --offline"
            )
        with naming(cache):
            _check_room(weights, cache, missing)
        _fetch(weights, files, missing, progress)
        if folder.exists():
            shutil.rmtree(folder)  # damaged, as a note has said
        _convert(weights, files, folder)
        shutil.rmtree(files)
    return folder


def _is_whole(weights: Weights, folder: Path) -> bool:
    """Tell whether the checkpoint is there, and not damaged.

    Raises:
        InputError: something else has its place.
    """
    if not folder.exists():
        return False
    in_the_way = InputError(
        f"{folder} is not a checkpoint of {weights.address}; move it away, or give"
        " another --cache"
    )
    if not published.is_published(folder):
        raise in_the_way
    if problems := published.verify(folder).problems:
        show(f"note: {problems[0]}; it is made again", file=sys.stderr)
        return False
    about = json.loads((folder / published.CONFIG).read_text())["about"]
    if about.get("source", {}).get("git_ids") != dict(weights.files):
        raise in_the_way
    return True


def _missing(weights: Weights, files: Path) -> list[str]:
    """Return the files that are not here yet, or not as they were published."""
    missing = []
    for name, blob in weights.files.items():
        path = files / name
        if path.exists() and blob_id(path) != blob:
            show(f"note: {path} is not the published file", file=sys.stderr)
            missing.append(name)
        elif not path.exists():
            missing.append(name)
    return missing


def _check_room(weights: Weights, cache: Path, missing: list[str]) -> None:
    """Refuse before anything is fetched: the files and the checkpoint need room."""
    share = 1 + bool(missing)
    needed, free = share * weights.size, shutil.disk_usage(cache).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"{weights.name} takes {needed / 1e6:,.0f} MB while it is downloaded, the"
            f" disk has {free / 1e6:,.0f} MB left",
        )


def _fetch(weights: Weights, files: Path, missing: list[str], progress: bool) -> None:
    """Fetch files, each of which appears under its name once it is whole."""
    import pooch

    for left in files.glob("tmp*"):  # as pooch calls what is not whole yet
        left.unlink()
    for name in missing:
        (files / name).unlink(missing_ok=True)
    pooch.get_logger().setLevel(logging.WARNING)
    fetcher = pooch.create(
        path=files,
        base_url=weights.address,
        registry=dict.fromkeys(weights.files),  # pooch knows no git ids
        retry_if_failed=RETRIES,
    )
    bar = tqdm(
        desc=weights.name,
        total=weights.size,
        initial=sum(path.stat().st_size for path in files.iterdir()),
        unit="B",
        unit_scale=True,
        disable=not progress or not missing,
    )
    with bar:
        for name in missing:
            with _in_one_line(weights, name, files):
                fetcher.fetch(
                    name,
                    processor=_verified(weights, name),
                    downloader=_downloader(bar),
                )


def _verified(weights: Weights, name: str):
    """Make a processor of pooch that removes a file which is not what was published."""

    def check(path: str, action: str, fetcher) -> str:
        found, size = blob_id(Path(path)), Path(path).stat().st_size
        if found != weights.files[name]:
            Path(path).unlink()
            raise InputError(
                f"{weights.address}{name}: is not the published file ({size:,} bytes,"
                f" git id {found}, expected {weights.files[name]}); it was removed; try"
                " again, perhaps from another network"
            )
        return path

    return check


def _downloader(bar: tqdm):
    """Make a downloader of pooch that does not ask again for what does not exist."""
    import pooch
    import requests

    fetch = pooch.HTTPDownloader(
        progressbar=_OneBar(bar), chunk_size=_CHUNK, timeout=TIMEOUT
    )

    def fetch_once(url: str, output: str, fetcher) -> None:
        try:
            fetch(url, output, fetcher)
        except requests.HTTPError as error:
            status = error.response.status_code
            if status < 500 and status not in _BUSY:
                raise InputError(
                    f"{url}: the server answers {status} {error.response.reason};"
                    " check the network, or whether there is a newer version of sdjax"
                ) from error
            raise

    return fetch_once


class _OneBar:
    """One bar for several files, as pooch moves the bar of each.

    Pooch sets the total when it begins a file, be it again; counts whole chunks; and at
    the end of the file starts from zero and adds the file's size.
    """

    def __init__(self, bar: tqdm):
        self._bar, self._start = bar, bar.n

    @property
    def total(self) -> int:
        return self._total

    @total.setter
    def total(self, size: int) -> None:
        self._total = size
        self.reset()

    def reset(self) -> None:
        self._bar.update(self._start - self._bar.n)

    def update(self, count: int) -> None:
        left = self._start + self._total - self._bar.n
        self._bar.update(min(count, max(left, 0)))

    def close(self) -> None:
        self._bar.refresh()


@contextmanager
def _in_one_line(weights: Weights, name: str, files: Path):
    """Say what failed, where, and what to do, instead of an error of requests."""
    import requests

    with naming(files):
        try:
            yield
        except requests.RequestException as error:  # an OSError, but of no path
            raise InputError(
                f"{weights.address}{name}: could not be fetched ({_reason(error)});"
                " check the network and run it again: what is whole is kept"
            ) from error


def _reason(error: Exception) -> str:
    """Return the innermost message: requests and urllib3 wrap one another's."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return " ".join(str(error).split()) or type(error).__name__


def _convert(weights: Weights, files: Path, folder: Path) -> None:
    """Make the published form of what was fetched; it appears when it is complete."""
    reader = importlib.import_module(f"sdjax.checkpoints.convert.{weights.format}")
    imported = reader.read(files)
    about = {
        "name": weights.name,
        "address": weights.address,
        "git_ids": dict(weights.files),
        "licence": weights.licence,
        "notes": [*weights.notes, *imported.source.get("notes", [])],
    }
    meta = Meta(
        step=0,
        model=model_config(imported.model),
        normalisation=imported.normalisation,
        source=imported.source | about,
    )
    published.write(
        imported.model, imported.params, imported.normalisation, folder, meta
    )
