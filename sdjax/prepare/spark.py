"""Preparing a corpus on a Spark cluster; the result equals that of `pipeline`.

The input is cut into pieces, which the executors read. Spark's shuffle brings all
reviews of a shard to one executor, which writes it. Input and output must be on a file
system that driver and executors share, and sdjax must be installed on all of them.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sdjax.data import pieces as data_pieces
from sdjax.data.corpus import SPLITS, Corpus
from sdjax.data.corpus_labels import label_keys_of
from sdjax.data.parts import Dataset, File
from sdjax.data.pieces import Piece
from sdjax.data.read_report import ReadReport
from sdjax.data.spark import session
from sdjax.prepare.blocks import Block, blocks, line_format_blocks
from sdjax.prepare.manifest import (
    already_prepared,
    as_manifest,
    check_enough,
    in_splits,
)
from sdjax.prepare.plan import Plan
from sdjax.prepare.segments import encode_block, record
from sdjax.prepare.shards import Holdout, ShardWriter, arrange, cut
from sdjax.prepare.work_folder import publish, remove_leftover, work_folder
from sdjax.terminal import show

# Reviews of one shard: (piece number, `record`[N] as bytes, the bytes of the reviews).
Parcel = tuple[int, bytes, bytes]


class PieceCounts(NamedTuple):
    """Counts from reading a piece: reviews, lines, and what was skipped."""

    number: int
    rows: int
    lines: int
    report: ReadReport


def prepare(
    sources: Iterable[File | Dataset],
    folder: str | Path,
    *,
    report: ReadReport,
    source: dict,
    plan: Plan,
    master: str = "local[*]",
    max_bad_fraction: float = 0.01,
    unchanged: Callable[[], None] = lambda: None,
    progress: bool = True,
) -> Corpus:
    """Write the same corpus as `pipeline.prepare_blocks`, on Spark.

    Args:
        sources: files and datasets, in order.
        folder, report, source, plan, max_bad_fraction, unchanged: as for
            `prepare_blocks`.
        master: URL of the cluster, or `local[N]` for N threads of this machine.
        progress: show Spark's progress bar.

    Raises:
        InputError: as for `prepare_blocks`, or Spark is missing or does not start.
    """
    folder = Path(folder).absolute()
    plan.check()
    request = {"source": source, **plan.as_json()}
    if already_prepared(folder, request):
        remove_leftover(folder)
        if progress:
            show(f"{folder}: already prepared, nothing to do", file=sys.stderr)
        return Corpus.open(folder)
    pieces = list(data_pieces.pieces(sources))
    # Spark retries failed tasks; an interrupted run starts again.
    with work_folder(folder, {"engine": "spark"}) as work:
        for split in SPLITS:
            (work / "corpus" / split).mkdir(parents=True, exist_ok=True)
        with session(master, "sdjax prepare", progress) as made:
            read, counts = _read_all(made.sparkContext, pieces, plan)
            for piece_report in data_pieces.with_file_lines(pieces, counts):
                report.add(piece_report)
            report.check(max_bad_fraction)
            rows = [count.rows for count in counts]
            check_enough(sum(rows), plan.shards)
            labels = len(label_keys_of(source))
            shards, duplicates = _write_all(read, rows, work / "corpus", plan, labels)
        unchanged()
        splits = in_splits(shards, plan)
        publish(
            work / "corpus", folder, as_manifest(request, splits, duplicates, report)
        )
    return Corpus.open(folder)


def _read_all(context, pieces: list[Piece], plan: Plan):
    """Read all pieces; return an RDD of (shard, parcel) and the counts by piece."""
    from pyspark import StorageLevel

    read = (
        context.parallelize(pieces, len(pieces))
        .flatMap(partial(_read_piece, plan=plan))
        .persist(StorageLevel.DISK_ONLY)
    )
    counts = read.filter(_is_counts).values().collect()
    return read.filter(_is_parcel), sorted(counts, key=lambda count: count.number)


def _blocks(piece: Piece, report: ReadReport) -> Iterator[Block]:
    if piece.span is None:
        return blocks([piece.source], report)
    return line_format_blocks(piece.source, report, piece.span)


def _is_counts(pair: tuple[int, Parcel | PieceCounts]) -> bool:
    return isinstance(pair[1], PieceCounts)


def _is_parcel(pair: tuple[int, Parcel | PieceCounts]) -> bool:
    return not _is_counts(pair)


def _read_piece(piece: Piece, plan: Plan) -> Iterator[tuple[int, Parcel | PieceCounts]]:
    """Yield (shard, parcel) for all reviews of a piece, then (-1, its counts)."""
    report, rows, lines = ReadReport(), 0, 0
    for block in _blocks(piece, ReadReport()):
        for part in block.parts:
            if part.layout is not None:
                lines += sum(data.count(b"\n") for _, data in part.content)
        index, reviews, block_report = encode_block(
            block, plan.normalisation, plan.seed, plan.layout.shards
        )
        index["row"] += rows
        rows += len(reviews)
        report.add(block_report)
        yield from _parcels(piece.number, index, reviews)
    yield -1, PieceCounts(piece.number, rows, lines, report)


def _parcels(
    piece: int, index: np.ndarray, reviews: list[bytes]
) -> Iterator[tuple[int, Parcel]]:
    order = np.argsort(index["shard"], kind="stable")
    shards, begins = np.unique(index["shard"][order], return_index=True)
    for shard, chosen in zip(shards.tolist(), np.split(order, begins[1:]), strict=True):
        data = b"".join([reviews[i] for i in chosen.tolist()])
        yield shard, (piece, index[chosen].tobytes(), data)


def _write_all(
    read, rows: list[int], folder: Path, plan: Plan, labels: int
) -> tuple[list[dict], int]:
    """Write all shards; return their manifest entries and the number of duplicates."""
    from pyspark import StorageLevel

    names, count, holdout = plan.names(), plan.layout.shards, None
    firsts = np.concatenate([[0], np.cumsum(rows)])
    if plan.split == "contiguous":
        held = plan.shards[1:]
        holdout = Holdout(firsts[:-1], int(firsts[-1]), plan.split_of_parts(), held)
    write = partial(
        _write_shard,
        folder=folder,
        names=names[:count],
        deduplicate=plan.dedup == "exact",
        labels=labels,
        holdout=holdout,
    )
    written = _by_shard(read, count, write).persist(StorageLevel.DISK_ONLY)
    done = written.filter(_is_entry).values().collect()
    if holdout is not None:
        write = partial(
            _write_shard,
            folder=folder,
            names=names[count:],
            deduplicate=False,
            labels=labels,
            holdout=None,
        )
        held_out = written.filter(_is_held)
        done += _by_shard(held_out, len(names) - count, write).values().collect()
    done.sort(key=lambda entry: names.index(entry[0]["file"].removesuffix(".bin")))
    return [entry for entry, _ in done], sum(dropped for _, dropped in done)


def _by_shard(parcels, shards: int, write: Callable):
    return parcels.partitionBy(shards, _identity).mapPartitionsWithIndex(write)


def _identity(shard: int) -> int:
    return shard


def _is_entry(pair: tuple) -> bool:
    return pair[0] == -1


def _is_held(pair: tuple) -> bool:
    return pair[0] != -1


def _write_shard(
    shard: int,
    parcels: Iterable[tuple[int, Parcel]],
    folder: Path,
    names: list[str],
    deduplicate: bool,
    labels: int,
    holdout: Holdout | None,
) -> Iterator[tuple[int, Parcel | tuple[dict, int]]]:
    """Write a shard; yield held-out parcels, then (-1, (its entry, duplicates))."""
    kind = record(labels)
    indices, rows, data = [np.zeros(0, kind)], [np.zeros(0, np.int64)], []
    for _, (piece, content, reviews) in parcels:
        indices.append(np.frombuffer(content, kind))
        first = 0 if holdout is None else holdout.firsts[piece]
        rows.append(indices[-1]["row"] + np.int64(first))
        data.append(reviews)
    index, rows, data = np.concatenate(indices), np.concatenate(rows), b"".join(data)
    tie = index["label"] if holdout is None else rows
    alone = np.zeros(len(index), np.int64)
    order, dropped = arrange(alone, index, tie, deduplicate)
    if holdout is not None:
        split = holdout.split_of(rows[order])
        held = order[split > 0]
        out = index[held]
        out["shard"] = holdout.shard_of(rows[held])
        yield from _parcels(0, out, cut(data, index, held))
        order = order[split == 0]
    with ShardWriter(folder, names[shard]) as writer:
        writer.add(cut(data, index, order), index[order])
        entry = writer.finish()
    yield -1, (entry, dropped)
