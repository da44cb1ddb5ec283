"""Shards: merged from segments, sorted by digest, deduplicated, written with an index.

The unit of work is a run, a few neighbouring shards. Its result depends only on the
segments, so any process can write it. Memory holds one part of a large shard, or
several small shards, at a time.
"""

import hashlib
import io
import json
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sdjax.data.read_report import ReadReport
from sdjax.errors import Damaged
from sdjax.files import write_whole
from sdjax.integrity import opened, read_object, sealed
from sdjax.prepare.segments import (
    Layout,
    read_marker,
    read_places,
    read_sizes,
    write_segment,
)

# Parts of a shard if duplicates are kept. Copies are spread only within their part, so
# the parts must be large.
_SPREAD_PARTS = 4

_GROUP_BYTES = 16 * 2**20  # read at once, unless a single part is larger
_MOST_SHARDS = 64  # in a run; all are open at once, and a run is the unit of resuming


def spread_layout(shards: int) -> Layout:
    """Return the layout of a corpus that keeps duplicates."""
    return Layout.of(shards, _SPREAD_PARTS)


class Holdout(NamedTuple):
    """The rows of the input that are held out of train by the rule "contiguous".

    The input is cut into as many equal parts as there are shards in total.

    firsts: the first row of each segment, int64[segments].
    rows: total number of rows.
    split: of each part: 0 train, 1 valid, 2 test; int64[parts].
    shards: numbers of shards of valid and test.
    """

    firsts: np.ndarray
    rows: int
    split: np.ndarray
    shards: tuple[int, int]

    @property
    def layout(self) -> Layout:
        """The layout of the segments of held-out reviews."""
        return spread_layout(sum(self.shards))

    def split_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the split of each row of the input, int64[N]."""
        return self.split[rows * len(self.split) // self.rows]

    def shard_of(self, index: np.ndarray, split: np.ndarray) -> np.ndarray:
        """Return the shard of held-out reviews, [N]; those of test follow valid's."""
        valid, test = (np.uint64(count) for count in self.shards)
        high = index["high"]
        return np.where(split == 1, high % valid, high % test + valid)


class Run(NamedTuple):
    """Neighbouring shards that one call writes.

    folder, names: where to write the shards.
    marker: a file that is written last; without it the run is incomplete.
    segments: of all blocks, in order.
    layout: of the segments.
    cuts: places at which reading is divided, from the first place of the run to its
        end. Between two cuts lie either whole shards or parts of a single shard.
    deduplicate: keep one of each set of equal reviews.
    labels: how many each review has.
    holdout: which rows to write to `held` instead; None for no rows.
    held: the folder for segments of held-out reviews.
    """

    folder: Path
    names: list[str]
    marker: Path
    segments: list[Path]
    layout: Layout
    cuts: list[int]
    deduplicate: bool
    labels: int
    holdout: Holdout | None = None
    held: Path | None = None

    @property
    def held_segments(self) -> list[Path]:
        if self.holdout is None:
            return []
        return [self.held / f"{place:05d}" for place in self.cuts[:-1]]


def plan_runs(segments: list[Path], layout: Layout) -> list[list[int]]:
    """Divide all shards of a layout into runs; return the cuts of each run."""
    sizes = np.zeros(layout.places, np.int64)
    for segment in segments:
        sizes += read_sizes(segment, layout.places)
    runs, room, full = [], 0, 0
    for shard, parts in enumerate(sizes.reshape(layout.shards, layout.parts)):
        begin, end = shard * layout.parts, (shard + 1) * layout.parts
        if runs and parts.sum() <= room and begin < full:
            runs[-1][-1] = end
            room -= parts.sum()
            continue
        cuts, room = [begin], _GROUP_BYTES
        full = begin + _MOST_SHARDS * layout.parts
        for place, size in enumerate(parts, begin):
            if size > room and place > cuts[-1]:
                cuts.append(place)
                room = _GROUP_BYTES
            room -= size
        runs.append([*cuts, end])
        if len(cuts) > 1:
            room = -1  # a shard that is read in several groups has a run of its own
    return runs


def write_run(run: Run) -> tuple[list[dict], int]:
    """Write the shards of a run, then its marker.

    Returns:
        (the manifest entry of each shard, the number of dropped duplicates).
    """
    with ExitStack() as stack:
        writers = [
            stack.enter_context(ShardWriter(run.folder, name)) for name in run.names
        ]
        first, duplicates = run.cuts[0] // run.layout.parts, 0
        held_segments = iter(run.held_segments)
        for begin, end in pairwise(run.cuts):
            index, rows, data = _read(run, begin, end)
            shard = index["shard"].astype(np.int64) - first
            # Equal reviews are sorted by this, and the first is kept.
            tie = index["label"] if run.holdout is None else rows
            order, dropped = arrange(shard, index, tie, run.deduplicate)
            duplicates += dropped
            if run.holdout is not None:
                split = run.holdout.split_of(rows[order])
                held = order[split > 0]
                reviews, out = cut(data, index, held), index[held]
                out["shard"] = run.holdout.shard_of(out, split[split > 0])
                path, layout = next(held_segments), run.holdout.layout
                write_segment(path, out, reviews, layout, ReadReport())
                order = order[split == 0]
            reviews, arranged = cut(data, index, order), index[order]
            bounds = np.searchsorted(shard[order], np.arange(len(writers) + 1))
            for writer, (start, stop) in zip(
                writers, pairwise(bounds.tolist()), strict=True
            ):
                writer.add(reviews[start:stop], arranged[start:stop])
        done = {"entries": [w.finish() for w in writers], "duplicates": duplicates}
    write_whole(run.marker, json.dumps(sealed(done)).encode())
    return done["entries"], duplicates


def read_run(run: Run) -> tuple[list[dict], int] | None:
    """Return what `write_run` returned, if the run was written whole."""
    done = read_entries(run.marker, run.folder)
    if done is None or any(read_marker(path) is None for path in run.held_segments):
        return None
    return done


def read_entries(marker: Path, folder: Path) -> tuple[list[dict], int] | None:
    """Return the manifest entries of a run and its duplicates, if its shards are whole.

    Every file is read and compared with its checksum: a marker may outlive what it
    stands for when the power fails.

    Args:
        marker: of the run.
        folder: of the shards.
    """
    try:
        done = opened(read_object(marker), marker, "")
        for entry in done["entries"]:
            path = folder / entry["file"]
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != entry["sha256"]:
                    return None
            index = [path.with_suffix(f".{kind}.npy") for kind in ("offsets", "labels")]
            content = b"".join(p.read_bytes() for p in index if p.exists())
            if hashlib.sha256(content).hexdigest() != entry["index_sha256"]:
                return None
    except (OSError, ValueError, KeyError, TypeError, Damaged):
        return None
    return done["entries"], done["duplicates"]


def _read(run: Run, begin: int, end: int) -> tuple[np.ndarray, np.ndarray, bytes]:
    """Read a range of places from all segments: index, rows in the input, bytes."""
    indices, data = [], []
    for segment in run.segments:
        index, content = read_places(segment, run.layout.places, begin, end, run.labels)
        indices.append(index)
        data.append(content)
    index, data = np.concatenate(indices), b"".join(data)
    rows = index["row"].astype(np.int64)
    if run.holdout is not None:
        rows += np.repeat(run.holdout.firsts, [len(i) for i in indices])
    return index, rows, data


def cut(data: bytes, index: np.ndarray, chosen: np.ndarray) -> list[bytes]:
    """Return the bytes of the chosen reviews.

    Args:
        data: the bytes of all reviews.
        index: `record`[N] of them, in the same order.
        chosen: int64[n], positions in the index.
    """
    stops = np.cumsum(index["length"], dtype=np.int64)[chosen]
    starts = (stops - index["length"][chosen]).tolist()
    return [data[i:j] for i, j in zip(starts, stops.tolist(), strict=True)]


def arrange(
    shard: np.ndarray, index: np.ndarray, tie: np.ndarray, deduplicate: bool
) -> tuple[np.ndarray, int]:
    """Sort reviews by shard and, within a shard, by digest.

    Args:
        shard: int64[N].
        index: `record`[N].
        tie: [N], orders equal reviews; the one with the smallest value is kept. Or
            [N, K], of which the first column counts most.
        deduplicate: drop the others.

    Returns:
        (positions in the index, in order; the number of dropped reviews).
    """
    order, copy = _sort(shard, index, tie)
    if deduplicate:
        return order[copy == 0], int((copy > 0).sum())
    if copy.any():
        order = order[_apart(shard[order], index[order], copy)]
    return order, 0


def _sort(
    shard: np.ndarray, index: np.ndarray, tie: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sort by shard, digest and `tie`.

    Returns:
        (the order, and for each review in it its index among equal reviews), int64[N].
    """
    high, low = (index[half].byteswap() for half in ("high", "low"))  # big-endian order
    order = np.lexsort((*np.atleast_2d(tie.T)[::-1], low, high, shard))
    keys = np.stack([shard[order].astype(np.uint64), high[order], low[order]])
    new = np.ones(len(order), bool)
    new[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    position = np.arange(len(order))
    return order, position - np.maximum.accumulate(np.where(new, position, 0))


def _apart(shard: np.ndarray, index: np.ndarray, copy: np.ndarray) -> np.ndarray:
    """Return an order in which kept duplicates do not follow each other.

    Each copy is sorted by a digest of its own, whose first bits, which determine the
    part of the shard, are unchanged.
    """
    high, low = (index[half].byteswap() for half in ("high", "low"))
    mixed = low ^ (copy.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)  # splitmix64
    part = np.uint64((_SPREAD_PARTS - 1) << 62)
    high = np.where(copy > 0, (high & part) | (mixed & ~part), high)
    return np.lexsort((copy, low, high, shard))


class ShardWriter:
    """Writes one shard: its bytes, then its index."""

    def __init__(self, folder: Path, name: str):
        self._folder, self._name = folder, name
        self._sha256, self._lengths, self._labels = hashlib.sha256(), [], []
        self._file = self._path("bin").open("wb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def _path(self, kind: str) -> Path:
        return self._folder / f"{self._name}.{kind}"

    def add(self, reviews: list[bytes], index: np.ndarray) -> None:
        """Append N reviews with their index, `record`[N]."""
        content = b"".join(reviews)
        self._file.write(content)
        self._sha256.update(content)
        self._lengths.append(index["length"])
        self._labels.append(index["label"])

    def finish(self) -> dict:
        """Write the index and return the manifest entry."""
        self._file.close()
        labels = np.concatenate(self._labels)
        offsets = np.zeros(len(labels) + 1, np.int64)
        np.cumsum(np.concatenate(self._lengths), out=offsets[1:])
        content = {"offsets": _npy(offsets)}
        if not np.isnan(labels).all():
            content["labels"] = _npy(labels)
        for kind, data in content.items():
            self._path(f"{kind}.npy").write_bytes(data)
        return {
            "file": f"{self._name}.bin",
            "bytes": int(offsets[-1]),
            "reviews": len(labels),
            "sha256": self._sha256.hexdigest(),
            "index_sha256": hashlib.sha256(b"".join(content.values())).hexdigest(),
        }


def _npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()
