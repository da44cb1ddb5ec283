"""Reviews on their way to shards: a segment holds those of one block, by place.

A place is a part of a shard. Which shard a review goes to, and where in it, is a
matter of its digest alone: a seeded hash of its bytes. A segment file has the table of
its places, its index (one `RECORD` a review) and the reviews' bytes, the latter two
sorted by place, so that all that any shard gets from it is one stretch of it.
"""

import contextlib
import gc
import json
import os
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from xxhash import xxh3_128_digest

from sdjax.data.read_report import ReadReport
from sdjax.data.text import Normalisation
from sdjax.errors import Damaged, UnreadableText
from sdjax.files import write_whole
from sdjax.integrity import file_digest, opened, sealed
from sdjax.prepare.blocks import Block

# `high` and `low` are the two halves of the digest, `row` counts within the segment.
_HALVES = [("high", "<u8"), ("low", "<u8")]
_COUNTS = [("length", "<u4"), ("row", "<u4"), ("shard", "<u4")]
RECORD = np.dtype([*_HALVES, ("label", "<f4"), *_COUNTS])
DIGEST = "xxh3_128"  # noted in unfinished work: another one's is not resumed
_MOST_PLACES = 16384  # of a table, which every segment has


class Layout(NamedTuple):
    """Shards, each cut in parts that are written one after the other."""

    shards: int
    parts: int

    @classmethod
    def of(cls, shards: int, most_parts: int = 256) -> "Layout":
        """Return the layout for a number of shards: parts are small for few of them.

        The parts are a power of two, so that one holds what begins with some bits.
        """
        parts = max(1, min(most_parts, _MOST_PLACES // shards))
        return cls(shards, 1 << (parts.bit_length() - 1))

    @property
    def places(self) -> int:
        return self.shards * self.parts

    def place(self, index: np.ndarray) -> np.ndarray:
        """Return the place of each record, int64[N]."""
        # Within a shard reviews are in the order of their digests' first bytes.
        part = ((index["high"] & np.uint64(0xFF)) * np.uint64(self.parts)) >> np.uint64(
            8
        )
        return index["shard"].astype(np.int64) * self.parts + part.astype(np.int64)


def encode_block(
    block: Block, normalisation: Normalisation, seed: int, shards: int
) -> tuple[np.ndarray, list[bytes], ReadReport]:
    """Turn a block into the bytes of its reviews.

    Args:
        seed: of the hash, modulo 2^64.
        shards: how many there are for the digest to pick from.

    Returns:
        (RECORD[N], the bytes of each review, what was read and skipped).
    """
    encode, report = normalisation.encode_whole, block.report
    labels, reviews = [], []
    with _no_search_for_cycles():
        for place, text, label in block.examples():
            try:
                data, reason = encode(text), "empty text"
            except UnreadableText as error:
                data, reason = None, error.reason
            if data is None:
                report.skip(reason, f"{block.keys.place}:{place}")
                continue
            labels.append(label)
            reviews.append(data)
        digests = b"".join(map(xxh3_128_digest, reviews, repeat(seed % 2**64)))
    index = np.zeros(len(reviews), RECORD)
    halves = np.frombuffer(digests, "<u8").reshape(-1, 2)
    index["high"], index["low"] = halves[:, 0], halves[:, 1]
    index["label"] = np.array(labels, np.float64) + 0  # one zero instead of two
    index["length"] = list(map(len, reviews))
    index["row"] = np.arange(len(reviews))
    index["shard"] = index["high"] % np.uint64(shards)
    return index, reviews, report


@contextlib.contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Spare the garbage collector many objects of which none is in a cycle."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def write_segment(
    path: Path,
    index: np.ndarray,
    reviews: list[bytes],
    layout: Layout,
    report: ReadReport,
) -> None:
    """Write a segment; it counts once its marker is there, which is written last."""
    place, places = layout.place(index), layout.places
    order = np.argsort(place, kind="stable")
    counts = np.bincount(place, minlength=places)
    sizes = np.bincount(place, weights=index["length"], minlength=places)
    table = np.zeros((places + 1, 2), np.int64)
    table[1:, 0], table[1:, 1] = counts.cumsum(), sizes.cumsum()
    with path.open("wb") as file:
        file.write(table.tobytes())
        file.write(index[order].tobytes())
        file.write(b"".join([reviews[i] for i in order.tolist()]))
        size = file.tell()
    marker = {
        "reviews": len(reviews),
        "bytes": size,
        "xxh3": file_digest(path),
        "report": report.as_json(),
    }
    write_whole(_marker(path), json.dumps(sealed(marker)).encode())


def read_marker(path: Path) -> tuple[int, ReadReport] | None:
    """Tell how many reviews a segment has and what reading it counted, if it is whole.

    One that is damaged is written again: the block that it was made of is still there.
    """
    try:
        marker = opened(json.loads(_marker(path).read_bytes()), path, "")
        if file_digest(path) != marker["xxh3"]:
            return None
    except (OSError, ValueError, KeyError, TypeError, Damaged):
        return None
    return marker["reviews"], ReadReport.from_json(marker["report"])


def _marker(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def read_sizes(path: Path, places: int) -> np.ndarray:
    """Return the bytes of each place, int64[places]."""
    table = np.fromfile(path, np.int64, 2 * (places + 1)).reshape(-1, 2)
    return np.diff(table[:, 1])


def read_places(
    path: Path, places: int, first: int, last: int
) -> tuple[np.ndarray, bytes]:
    """Read the index (RECORD[N]) and the bytes of the places from `first` to `last`."""
    with path.open("rb", buffering=0) as file:

        def read(begin: int, size: int) -> bytes:
            return os.pread(file.fileno(), int(size), int(begin))

        (row, start), (end_row, end), (rows, _) = (
            np.frombuffer(read(16 * place, 16), np.int64)
            for place in (first, last, places)
        )
        index_begin = 16 * (places + 1)
        data_begin = index_begin + RECORD.itemsize * rows
        index = read(
            index_begin + RECORD.itemsize * row, RECORD.itemsize * (end_row - row)
        )
        return np.frombuffer(index, RECORD), read(data_begin + start, end - start)
