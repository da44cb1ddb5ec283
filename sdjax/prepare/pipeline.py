"""Preparing a corpus: reviews are deduplicated, shuffled, split and written in shards.

There are two passes, each of which can use several processes. The first pass turns
every block of the input into a segment whose reviews are sorted by shard. The second
pass merges the segments into shards. Both passes resume after an interruption. The
manifest is written last and the folder is renamed into place, so a corpus that
`sdjax.data.corpus` can open is complete.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sdjax.data.corpus import SPLITS, Corpus
from sdjax.data.corpus_labels import label_keys_of
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import Example
from sdjax.data.text import Normalisation
from sdjax.errors import Damaged
from sdjax.files import write_whole
from sdjax.integrity import opened, read_object, sealed
from sdjax.prepare.blocks import BLOCK_BYTES, BLOCKS, Block, Gathered, blocks_of
from sdjax.prepare.manifest import (
    already_prepared,
    as_manifest,
    check_enough,
    in_splits,
)
from sdjax.prepare.plan import Plan
from sdjax.prepare.segments import (
    DIGEST,
    Layout,
    encode_block,
    read_marker,
    write_segment,
)
from sdjax.prepare.shards import HELD, Holdout, Run, plan_runs, read_run, write_run
from sdjax.prepare.work_folder import publish, remove_leftover, work_folder
from sdjax.prepare.workers import Workers
from sdjax.terminal import show


def prepare(
    examples: Iterable[Example], folder: str | Path, *, report: ReadReport, **options
) -> Corpus:
    """Write a corpus from an iterable of examples; see `prepare_blocks`.

    Args:
        examples: consumed once, or not at all if the same corpus already exists.
        folder: as for `prepare_blocks`.
        report: updated by the producer of the examples, such as `sources.counted`.
        options: fields of `Plan`, and keyword arguments of `prepare_blocks`.
    """
    rules = {key: options.pop(key) for key in Plan._fields if key in options}
    return prepare_blocks(
        blocks_of(examples, label_keys_of(options["source"])),
        folder,
        report=report,
        plan=Plan(**rules),
        **options,
    )


def prepare_blocks(
    blocks: Iterable[Block | Gathered],
    folder: str | Path,
    *,
    report: ReadReport,
    source: dict,
    plan: Plan = Plan(),  # noqa: B008 (immutable)
    workers: int = 1,
    max_bad_fraction: float = 0.01,
    unchanged: Callable[[], None] = lambda: None,
    progress: bool = True,
) -> Corpus:
    """Write a corpus: normalise, drop exact duplicates, shuffle, split into shards.

    A seeded hash of the bytes of a review determines its shard and its place in the
    shard. So the corpus depends on the set of reviews and on the plan, but not on the
    number of workers and, unless the split rule is "contiguous", not on the order of
    the reviews. Among duplicates with different labels the smallest label is kept (of
    several labels the first one counts most); with "contiguous" the first duplicate is
    kept.

    Args:
        blocks: consumed once, or not at all if the same corpus already exists.
        folder: must not exist, be empty, or already hold the same corpus.
        report: receives the counts; too many bad rows stop the run before publishing.
        source: JSON description of the input; stored in the manifest. Where reviews
            have several labels, `label_key` is the list of their keys.
        plan: the rules of the corpus.
        workers: number of processes.
        max_bad_fraction: largest fraction of unusable rows.
        unchanged: raises where the input changed while it was read (`Input.watch`).
        progress: show a progress bar on standard error.

    Raises:
        InputError: the folder holds something else or cannot be written, the disk is
            full, the input is bad, or there are too few reviews for the shards.
    """
    folder = Path(folder)
    plan.check()
    request = {"source": source, **plan.as_json()}
    if already_prepared(folder, request):
        remove_leftover(folder)
        if progress:
            show(f"{folder}: already prepared, nothing to do", file=sys.stderr)
        return Corpus.open(folder)
    # Unfinished work is resumed only if all of this is the same.
    blocks_are = {"block_bytes": BLOCK_BYTES, "blocks": BLOCKS}
    resumable = request | blocks_are | {"digest": DIGEST, "held": HELD}
    with work_folder(folder, resumable) as work:
        with Workers(workers) as pool:
            segments, rows = _write_segments(blocks, work, plan, pool, report, progress)
            report.check(max_bad_fraction)
            check_enough(sum(rows), plan.shards)
            labels = len(label_keys_of(source))
            shards, duplicates = _write_shards(
                segments, rows, work, plan, labels, pool, progress
            )
        unchanged()
        splits = in_splits(shards, plan)
        manifest = as_manifest(request, splits, duplicates, report)
        publish(work / "corpus", folder, manifest)
    return Corpus.open(folder)


def _write_segments(
    blocks: Iterable[Block | Gathered],
    work: Path,
    plan: Plan,
    pool: Workers,
    report: ReadReport,
    progress: bool,
) -> tuple[list[Path], list[int]]:
    """Write a segment for every block; return their paths and numbers of reviews."""
    folder, finished = work / "segments", work / "segments.json"
    folder.mkdir(exist_ok=True)
    if (left := _left(finished)) is not None:
        rows = left["rows"]
        segments = [folder / f"{number:06d}" for number in range(len(rows))]
        markers = [read_marker(segment) for segment in segments]
        if None not in markers:
            report.add(ReadReport.from_json(left["report"]))
            return segments, rows
    segments, rows = [], []
    write = partial(
        _write_segment,
        normalisation=plan.normalisation,
        seed=plan.seed,
        layout=plan.layout,
    )

    def tasks() -> Iterator[tuple[Path, Block | Gathered]]:
        for block in blocks:
            segments.append(folder / f"{len(segments):06d}")
            # A worker process reads the block from the file itself if it can, which
            # is cheaper than sending the text to it.
            yield segments[-1], block if pool.count == 1 else block.by_reference()

    with tqdm(desc="reading", unit_scale=True, disable=not progress) as bar:
        for count, counted in pool.map(write, tasks()):
            rows.append(count)
            report.add(counted)
            bar.total, bar.unit = report.total or None, report.unit
            bar.update(report.position - bar.n)
    left = {"rows": rows, "report": report.as_json()}
    write_whole(finished, json.dumps(sealed(left)).encode())
    return segments, rows


def _left(finished: Path) -> dict | None:
    """Return what the first pass noted when it was done; None if it is not whole."""
    try:
        return opened(read_object(finished), finished, "")
    except (OSError, ValueError, TypeError, Damaged):
        return None


def _write_segment(
    task: tuple[Path, Block | Gathered],
    normalisation: Normalisation,
    seed: int,
    layout: Layout,
) -> tuple[int, ReadReport]:
    """Write the segment of a block unless it is already complete."""
    path, block = task
    if (finished := read_marker(path)) is not None:
        return finished
    index, reviews, report = encode_block(block, normalisation, seed, layout.shards)
    write_segment(path, index, reviews, layout, report)
    return len(reviews), report


def _write_shards(
    segments: list[Path],
    rows: list[int],
    work: Path,
    plan: Plan,
    labels: int,
    pool: Workers,
    progress: bool,
) -> tuple[list[dict], int]:
    """Write the shards; return their manifest entries and the number of duplicates."""
    for name in ("runs", "held", *(f"corpus/{split}" for split in SPLITS)):
        (work / name).mkdir(parents=True, exist_ok=True)
    names, holdout = plan.names(), None
    if plan.split == "contiguous":
        firsts = np.concatenate([[0], np.cumsum(rows)])
        parts, held = plan.split_of_parts(), plan.shards[1:]
        holdout = Holdout(firsts[:-1], int(firsts[-1]), parts, held)
    layout, train = plan.layout, names[: plan.layout.shards]
    runs = _runs(work, segments, layout, train, plan.dedup, labels, holdout)
    entries, duplicates = [], 0
    with tqdm(
        total=len(names), desc="writing", unit="shard", disable=not progress
    ) as bar:
        while runs:
            for written, dropped in pool.map(_finish_run, runs):
                entries += written
                duplicates += dropped
                bar.update(len(written))
            segments = [path for run in runs for path in run.held_segments]
            runs = []
            if segments:  # the held-out reviews become the shards of valid and test
                others = names[layout.shards :]
                layout = holdout.layout
                runs = _runs(work, segments, layout, others, "none", labels, None)
    return entries, duplicates


def _runs(
    work: Path,
    segments: list[Path],
    layout: Layout,
    names: list[str],
    dedup: str,
    labels: int,
    holdout: Holdout | None,
) -> list[Run]:
    """Return the runs that write the shards `names` from these segments."""
    runs = []
    for cuts in plan_runs(segments, layout):
        shards = slice(cuts[0] // layout.parts, cuts[-1] // layout.parts)
        runs.append(
            Run(
                folder=work / "corpus",
                names=names[shards],
                marker=work / "runs" / f"{names[shards][0].replace('/', '-')}.json",
                segments=segments,
                layout=layout,
                cuts=cuts,
                deduplicate=dedup == "exact",
                labels=labels,
                holdout=holdout,
                held=work / "held",
            )
        )
    return runs


def _finish_run(run: Run) -> tuple[list[dict], int]:
    """Write the shards of a run unless they are already complete."""
    return read_run(run) or write_run(run)
