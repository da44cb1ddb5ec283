"""Preparing a corpus: reviews deduplicated, shuffled, split and written in shards.

The manifest is written last and the folder is renamed into place, so whatever
`sdjax.corpus` opens is complete.
"""

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import math
import mmap
import os
import shutil
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sdjax.corpus import FORMAT_VERSION, MANIFEST, SPLITS, Corpus, read_manifest
from sdjax.errors import InputError
from sdjax.readreport import ReadReport
from sdjax.sources import Example
from sdjax.text import Normalisation

_HEADER = struct.Struct("<16sfI")  # digest, label (NaN: none), bytes that follow
_BUFFER_BYTES = 32 * 2**20  # of bucket records, over all buckets


def prepare(
    examples: Iterable[Example],
    folder: str | Path,
    *,
    report: ReadReport,
    source: dict,
    normalisation: Normalisation = Normalisation(),  # noqa: B008 (frozen)
    shards: tuple[int, int, int] = (1000, 1, 1),
    seed: int = 0,
    max_bad_fraction: float = 0.01,
    progress: bool = True,
) -> Corpus:
    """Write a corpus: normalised, exact duplicates dropped, shuffled, split in shards.

    A keyed hash of a review's bytes says which shard it goes to and where in the shard
    it stands: the corpus is a function of the set of reviews and the seed, not of
    their order, and memory holds one shard's index at most. Of duplicates with
    different labels the smallest label stays.

    Args:
        examples: consumed once, unless the same corpus is there already.
        folder: must not exist, be empty, or hold the corpus that is asked for.
        report: what the reader counted; checked before anything is put in place.
        source: where the examples come from, as JSON; kept in the manifest.
        shards: how many shards train, valid and test have.
        seed: another seed gives another shuffle and another split.
        max_bad_fraction: how much of the input may be unusable.
        progress: show a progress bar on standard error.

    Raises:
        InputError: a folder that holds something else or cannot be written, a full
            disk, bad input, too few reviews for the shards.
    """
    folder = Path(folder)
    if len(shards) != len(SPLITS) or min(shards) < 1:
        raise InputError(f"shards are {shards}; give at least one each: {SPLITS}")
    request = {
        "source": source,
        "normalisation": normalisation.as_json(),
        "seed": seed,
        "shards": list(shards),
    }
    if _already_prepared(folder, request):
        if progress:
            print(f"{folder}: already prepared, nothing to do", file=sys.stderr)
        return Corpus.open(folder)
    with _work_folder(folder) as work:
        buckets = _fill_buckets(
            examples, work, report, normalisation, sum(shards), seed, progress
        )
        report.check(max_bad_fraction)
        splits, duplicates = _write_splits(buckets, work, shards, progress)
        manifest = {
            "format": "sdjax corpus",
            "format_version": FORMAT_VERSION,
            "request": request,
            "split_rule": "shuffled",
            "reviews": sum(s["reviews"] for split in splits.values() for s in split),
            "duplicates": duplicates,
            "report": report.as_json(),
            "splits": splits,
        }
        _publish(work, folder, manifest)
    return Corpus.open(folder)


def _fill_buckets(
    examples: Iterable[Example],
    work: Path,
    report: ReadReport,
    normalisation: Normalisation,
    count: int,
    seed: int,
    progress: bool,
) -> list[Path]:
    """Append every review to the bucket that its hash picks."""
    key = struct.pack("<q", seed)
    empty = len(normalisation.encode(""))
    paths = [work / f"bucket-{index:05d}" for index in range(count)]
    for path in paths:
        path.touch()
    buffers = [bytearray() for _ in paths]
    pending = 0
    bar = tqdm(desc="reading", unit_scale=True, disable=not progress)
    with bar:
        for number, (text, label, row, _) in enumerate(examples):
            data = normalisation.encode(text)
            if len(data) == empty:
                report.skip("empty text", f"row {row}")
                continue
            digest = hashlib.blake2b(data, digest_size=16, key=key).digest()
            label = math.nan if label is None else label
            buffer = buffers[int.from_bytes(digest[:8], "little") % count]
            buffer += _HEADER.pack(digest, label, len(data))
            buffer += data
            pending += _HEADER.size + len(data)
            if pending >= _BUFFER_BYTES:
                _flush(paths, buffers)
                pending = 0
            if number % 256 == 0:
                _advance(bar, report)
        _flush(paths, buffers)
        _advance(bar, report)
    return paths


def _advance(bar: tqdm, report: ReadReport) -> None:
    bar.total, bar.unit = report.total or None, report.unit
    bar.update(report.position - bar.n)


def _flush(paths: list[Path], buffers: list[bytearray]) -> None:
    # Opened anew each time: as many files as shards need not be open at once.
    for path, buffer in zip(paths, buffers, strict=True):
        if buffer:
            with path.open("ab") as file:
                file.write(buffer)
            buffer.clear()


def _write_splits(
    buckets: list[Path], work: Path, shards: tuple[int, int, int], progress: bool
) -> tuple[dict[str, list[dict]], int]:
    """Turn each bucket into a shard; give the manifest entries and the duplicates."""
    names = [
        f"{split}/{index:05d}"
        for split, count in zip(SPLITS, shards, strict=True)
        for index in range(count)
    ]
    for split in SPLITS:
        (work / split).mkdir()
    splits = {split: [] for split in SPLITS}
    duplicates = 0
    with tqdm(
        total=len(names), desc="writing", unit="shard", disable=not progress
    ) as bar:
        for name, bucket in zip(names, buckets, strict=True):
            entry, dropped = _write_shard(bucket, work, name)
            bucket.unlink()
            splits[name.partition("/")[0]].append(entry)
            duplicates += dropped
            bar.update()
    _check_filled(splits, shards)
    return splits, duplicates


def _write_shard(bucket: Path, work: Path, name: str) -> tuple[dict, int]:
    """Sort a bucket by hash, drop duplicates, write the shard and its index."""
    offsets, labels = [0], []
    sha256 = hashlib.sha256()
    duplicates, last = 0, None
    with bucket.open("rb") as file, (work / f"{name}.bin").open("wb") as output:
        if os.fstat(file.fileno()).st_size:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                for digest, missing, label, start, end in sorted(_records(data)):
                    if digest == last:
                        duplicates += 1
                        continue
                    last = digest
                    review = data[start:end]
                    output.write(review)
                    sha256.update(review)
                    offsets.append(offsets[-1] + len(review))
                    labels.append(math.nan if missing else label)
    index = {"offsets": _npy(np.array(offsets, np.int64))}
    if not all(math.isnan(label) for label in labels):
        index["labels"] = _npy(np.array(labels, np.float32))
    for kind, content in index.items():
        (work / f"{name}.{kind}.npy").write_bytes(content)
    entry = {
        "file": f"{name}.bin",
        "bytes": offsets[-1],
        "reviews": len(labels),
        "sha256": sha256.hexdigest(),
        "index_sha256": hashlib.sha256(b"".join(index.values())).hexdigest(),
    }
    return entry, duplicates


def _records(data: mmap.mmap) -> Iterator[tuple[bytes, bool, float, int, int]]:
    """Yield (digest, no label, label, start, end) of each record of a bucket."""
    start = 0
    while start < len(data):
        digest, label, length = _HEADER.unpack_from(data, start)
        start += _HEADER.size
        # NaN does not compare: keep it out of the sort key.
        missing = math.isnan(label)
        yield digest, missing, 0.0 if missing else label, start, start + length
        start += length


def _npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def _check_filled(splits: dict[str, list[dict]], shards: tuple[int, int, int]) -> None:
    reviews = sum(entry["reviews"] for split in splits.values() for entry in split)
    empty = sum(not entry["reviews"] for split in splits.values() for entry in split)
    if empty:
        # With 20 reviews a shard on average an empty one is a 1 in 5e8 event.
        fewer = max(1, reviews // 20 - shards[1] - shards[2])
        raise InputError(
            f"{reviews:,} different reviews leave {empty:,} of {sum(shards):,} shards "
            f"empty; ask for fewer: --shards {fewer}/{shards[1]}/{shards[2]}"
            if reviews // 20 > shards[1] + shards[2]
            else f"{reviews:,} different reviews are too few for a corpus of "
            f"{sum(shards):,} shards; give at least {20 * (1 + shards[1] + shards[2])} "
            f"and --shards 1/{shards[1]}/{shards[2]}"
        )


def _already_prepared(folder: Path, request: dict) -> bool:
    """Tell whether `folder` holds the corpus asked for; refuse anything else in it."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file; choose another output folder")
    if not any(folder.iterdir()):
        return False
    if not (folder / MANIFEST).exists():
        raise InputError(
            f"{folder}: not empty and not a corpus; choose another output folder"
        )
    found = read_manifest(folder).get("request", {})
    wanted = json.loads(json.dumps(request))
    differs = [
        f"{name} is {json.dumps(found.get(name))}, asked for {json.dumps(value)}"
        for name, value in wanted.items()
        if found.get(name) != value
    ]
    if differs:
        raise InputError(
            f"{folder}: already holds another corpus ({'; '.join(differs)}); choose "
            "another output folder or delete this one"
        )
    return True


@contextlib.contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    """Give a sibling folder to write in; it is gone afterwards unless it was renamed.

    A run that was killed leaves it behind; the next run finds its lock free, which
    the system sees to, and clears it.
    """
    folder = folder.absolute()
    work = folder.parent / f".{folder.name}.preparing"
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / "lock").open("wb")
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
        try:
            _clear(work)
            yield work
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise InputError(
                f"{folder}: disk full while writing; free about twice the size of the "
                "uncompressed reviews or choose another output folder"
            ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _clear(work: Path) -> None:
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


def _publish(work: Path, folder: Path, manifest: dict) -> None:
    """Force everything to disk, the manifest last, and rename into place."""
    files = [path for path in work.rglob("*") if path.is_file()]
    for path in [*files, *(work / split for split in SPLITS)]:
        _sync(path)
    (work / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    _sync(work / MANIFEST)
    _sync(work)
    try:
        os.rename(work, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise InputError(
            f"{folder}: was filled by someone else meanwhile; choose another folder"
        ) from error
    # Until here the lock kept others away from the work folder.
    (folder / "lock").unlink()
    _sync(folder.absolute().parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
