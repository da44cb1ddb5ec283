"""Segments: the reviews of one block, sorted by the place where they will go.

A place is a part of a shard. The shard of a review and its position there depend only
on its digest, a seeded hash of its bytes. A segment file consists of a table of places,
the index (one record per review) and the bytes of the reviews. Index and bytes are
sorted by place, so everything that a shard needs from a segment is contiguous.
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
from sdjax.integrity import file_digest, opened, read_object, sealed
from sdjax.prepare.blocks import Block, Gathered

# `high` and `low` are the halves of the digest; `row` is the row within the segment.
_HALVES = [("high", "<u8"), ("low", "<u8")]
_COUNTS = [("length", "<u4"), ("row", "<u4"), ("shard", "<u4")]
# Recorded with unfinished work: work that was begun with another hash is not resumed.
DIGEST = "xxh3_128"
_MAX_PLACES = 16384  # every segment holds a table of all places, so this bounds it


def record(labels: int) -> np.dtype:
    """Return the type of the index of reviews that have so many labels.

    `label` is one number, NaN without one, unless there are several.
    """
    shape = (labels,) if labels > 1 else ()
    return np.dtype([*_HALVES, ("label", "<f4", shape), *_COUNTS])


class Layout(NamedTuple):
    """A number of shards, each cut into parts that are written one after the other."""

    shards: int
    parts: int

    @classmethod
    def of(cls, shards: int, max_parts: int = 256) -> "Layout":
        """Return the layout for a number of shards; fewer shards get more parts.

        The number of parts is a power of two, so that the first bits of a digest
        determine its part.
        """
        parts = max(1, min(max_parts, _MAX_PLACES // shards))
        return cls(shards, 1 << (parts.bit_length() - 1))

    @property
    def places(self) -> int:
        return self.shards * self.parts

    def place(self, index: np.ndarray) -> np.ndarray:
        """Return the place of each record of an index, int64[N]."""
        # Within a shard, reviews are sorted by the first byte of their digests.
        part = ((index["high"] & np.uint64(0xFF)) * np.uint64(self.parts)) >> np.uint64(
            8
        )
        return index["shard"].astype(np.int64) * self.parts + part.astype(np.int64)


def encode_block(
    block: Block | Gathered, normalisation: Normalisation, seed: int, shards: int
) -> tuple[np.ndarray, list[bytes], ReadReport]:
    """Encode the reviews of a block and assign them to shards.

    Args:
        block: of the input.
        normalisation: of each text.
        seed: of the hash, modulo 2^64.
        shards: number of shards to choose from.

    Returns:
        (`record`[N], the bytes of each review, counts of what was read and skipped).
    """
    encode, report = normalisation.encode_whole, ReadReport()
    labels, reviews = [], []
    with _without_garbage_collection():
        for part in block.parts:
            for _, place, text, label in part.examples():
                try:
                    data, reason, detail = encode(text), "empty text", ""
                except UnreadableText as error:
                    data, reason, detail = None, error.reason, str(error)
                if data is None:
                    where = f"{part.keys.place}:{place}"
                    part.report.skip(reason, where, detail=detail)
                    continue
                labels.append(label)
                reviews.append(data)
            report.add(part.report)
        digests = b"".join(map(xxh3_128_digest, reviews, repeat(seed % 2**64)))
    index = np.zeros(len(reviews), record(block.labels))
    halves = np.frombuffer(digests, "<u8").reshape(-1, 2)
    index["high"], index["low"] = halves[:, 0], halves[:, 1]
    labels = np.array(labels, np.float64).reshape(index["label"].shape)
    index["label"] = labels + 0  # turns -0.0 into 0.0
    index["length"] = list(map(len, reviews))
    index["row"] = np.arange(len(reviews))
    index["shard"] = index["high"] % np.uint64(shards)
    return index, reviews, report


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Pause the garbage collector, which would scan many objects without cycles."""
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
    """Write a segment. Its marker is written last; without it the segment is ignored.

    Args:
        path: of the segment; the marker has `.json` added.
        index: `record`[N].
        reviews: the bytes of each review.
        layout: the places.
        report: counts of the block, stored in the marker.
    """
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
    """Return (number of reviews, counts of the block) of a complete segment, or None.

    One that is damaged is written again: the block that it was made of is still there.
    """
    try:
        marker = opened(read_object(_marker(path)), path, "")
        if file_digest(path) != marker["xxh3"]:
            return None
    except (OSError, ValueError, KeyError, TypeError, Damaged):
        return None
    return marker["reviews"], ReadReport.from_json(marker["report"])


def _marker(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def read_sizes(path: Path, places: int) -> np.ndarray:
    """Return the number of bytes at each place, int64[places]."""
    table = np.fromfile(path, np.int64, 2 * (places + 1)).reshape(-1, 2)
    return np.diff(table[:, 1])


def read_places(
    path: Path, places: int, first: int, last: int, labels: int
) -> tuple[np.ndarray, bytes]:
    """Read index (`record`[N]) and bytes of the places from `first` up to `last`.

    Args:
        path: of the segment.
        places: number of places in the segment.
        first, last: the range; `last` is not included.
        labels: how many each review has.
    """
    with path.open("rb", buffering=0) as file:

        def read(begin: int, size: int) -> bytes:
            return os.pread(file.fileno(), int(size), int(begin))

        (row, start), (end_row, end), (rows, _) = (
            np.frombuffer(read(16 * place, 16), np.int64)
            for place in (first, last, places)
        )
        kind, index_begin = record(labels), 16 * (places + 1)
        data_begin = index_begin + kind.itemsize * rows
        index = read(index_begin + kind.itemsize * row, kind.itemsize * (end_row - row))
        return np.frombuffer(index, kind), read(data_begin + start, end - start)
