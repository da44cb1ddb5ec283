"""Preparing a corpus: reviews deduplicated, shuffled, split and written in shards.

Two passes, each spread over any number of processes. The first turns every block of
the input into a segment, sorted by the shards that its reviews go to; the second makes
the shards out of the segments. Either goes on where an interrupted run stopped. The
manifest is written last and the folder is renamed into place, so whatever
`sdjax.data.corpus` opens is complete.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sdjax.data.corpus import FORMAT_VERSION, MANIFEST, SPLITS, Corpus, read_manifest
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import Example
from sdjax.data.text import Normalisation
from sdjax.errors import Damaged, InputError, differences
from sdjax.files import write_whole
from sdjax.integrity import opened, sealed
from sdjax.prepare.blocks import BLOCK_BYTES, Block, blocks_of
from sdjax.prepare.plan import DEDUP_RULES, SPLIT_RULES, Plan
from sdjax.prepare.segments import (
    DIGEST,
    Layout,
    encode_block,
    read_marker,
    write_segment,
)
from sdjax.prepare.shards import Holdout, Run, plan_runs, read_run, write_run
from sdjax.prepare.work_folder import publish, work_folder
from sdjax.prepare.workers import Workers


def prepare(
    examples: Iterable[Example], folder: str | Path, *, report: ReadReport, **options
) -> Corpus:
    """Write a corpus of examples from anywhere; see `prepare_blocks` for the options.

    Args:
        examples: consumed once, unless the same corpus is there already.
        report: what is counted as they are consumed, by `sources.counted` for example.
        options: besides those of `prepare_blocks` those of `Plan`.
    """
    given = {key: options.pop(key) for key in Plan._fields if key in options}
    return prepare_blocks(
        blocks_of(examples), folder, report=report, plan=Plan(**given), **options
    )


def prepare_blocks(
    blocks: Iterable[Block],
    folder: str | Path,
    *,
    report: ReadReport,
    source: dict,
    plan: Plan = Plan(),  # noqa: B008 (immutable)
    workers: int = 1,
    max_bad_fraction: float = 0.01,
    progress: bool = True,
) -> Corpus:
    """Write a corpus: normalised, exact duplicates dropped, shuffled, split in shards.

    A seeded hash of a review's bytes says which shard it goes to and where in the shard
    it stands: the corpus is a function of the set of reviews and of the plan, not of
    their order (but with the split rule "contiguous") nor of the number of workers.
    Of duplicates with different labels the smallest label stays; with "contiguous" the
    first duplicate does.

    Args:
        blocks: consumed once, unless the same corpus is there already.
        folder: must not exist, be empty, or hold the corpus that is asked for.
        report: gets what is counted; checked before anything is put in place.
        source: where the blocks come from, as JSON; kept in the manifest.
        plan: what is asked for.
        workers: processes that work at it.
        max_bad_fraction: how much of the input may be unusable.
        progress: show a progress bar on standard error.

    Raises:
        InputError: a folder that holds something else or cannot be written, a full
            disk, bad input, too few reviews for the shards.
    """
    folder = Path(folder)
    plan.check()
    request = {"source": source, **plan.as_json()}
    if already_prepared(folder, request):
        if progress:
            print(f"{folder}: already prepared, nothing to do", file=sys.stderr)
        return Corpus.open(folder)
    left = request | {"block_bytes": BLOCK_BYTES, "digest": DIGEST}
    with work_folder(folder, left) as work:
        with Workers(workers) as pool:
            read = _write_segments(blocks, work, plan, pool, report, progress)
            report.check(max_bad_fraction)
            shards, duplicates = _write_shards(*read, work, plan, pool, progress)
        splits = in_splits(shards, plan)
        manifest = as_manifest(request, splits, duplicates, report)
        publish(work / "corpus", folder, manifest)
    return Corpus.open(folder)


def _write_segments(
    blocks: Iterable[Block],
    work: Path,
    plan: Plan,
    pool: Workers,
    report: ReadReport,
    progress: bool,
) -> tuple[list[Path], list[int]]:
    """Turn every block into a segment; give these and how many reviews each has."""
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

    def tasks() -> Iterator[tuple[Path, Block]]:
        for block in blocks:
            segments.append(folder / f"{len(segments):06d}")
            # What another process can read for itself is not sent to it.
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
        return opened(json.loads(finished.read_bytes()), finished, "")
    except (OSError, ValueError, TypeError, Damaged):
        return None


def _write_segment(
    task: tuple[Path, Block], normalisation: Normalisation, seed: int, layout: Layout
) -> tuple[int, ReadReport]:
    """Write the segment of a block if it is not there; runs in any process."""
    path, block = task
    if (found := read_marker(path)) is not None:
        return found
    index, reviews, report = encode_block(block, normalisation, seed, layout.shards)
    write_segment(path, index, reviews, layout, report)
    return len(reviews), report


def _write_shards(
    segments: list[Path],
    rows: list[int],
    work: Path,
    plan: Plan,
    pool: Workers,
    progress: bool,
) -> tuple[list[dict], int]:
    """Make the shards; give their manifest entries and how many duplicates went."""
    for name in ("runs", "held", *(f"corpus/{split}" for split in SPLITS)):
        (work / name).mkdir(parents=True, exist_ok=True)
    names, holdout = plan.names(), None
    if plan.split == "contiguous":
        firsts = np.concatenate([[0], np.cumsum(rows)])
        parts, held = plan.split_of_parts(), plan.shards[1:]
        holdout = Holdout(firsts[:-1], int(firsts[-1]), parts, held)
    layout = plan.layout
    runs = _runs(work, segments, layout, names[: layout.shards], plan.dedup, holdout)
    entries, duplicates = [], 0
    with tqdm(
        total=len(names), desc="writing", unit="shard", disable=not progress
    ) as bar:
        while runs:
            for made, dropped in pool.map(_finish_run, runs):
                entries += made
                duplicates += dropped
                bar.update(len(made))
            segments = [path for run in runs for path in run.held_segments]
            runs = []
            if segments:  # what was held out makes the shards of valid and test
                left = names[layout.shards :]
                runs = _runs(work, segments, holdout.layout, left, "none", None)
    return entries, duplicates


def _runs(
    work: Path,
    segments: list[Path],
    layout: Layout,
    names: list[str],
    dedup: str,
    holdout: Holdout | None,
) -> list[Run]:
    """Describe how the shards `names` are to be written out of some segments."""
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
                holdout=holdout,
                held=work / "held",
            )
        )
    return runs


def _finish_run(run: Run) -> tuple[list[dict], int]:
    """Write a run if it is not there; runs in any process."""
    return read_run(run) or write_run(run)


def in_splits(entries: list[dict], plan: Plan) -> dict[str, list[dict]]:
    """Put the entries of all shards, in order, under the names of their splits.

    Raises:
        InputError: a shard is empty.
    """
    ends = np.cumsum(plan.shards).tolist()
    splits = {
        split: entries[end - count : end]
        for split, count, end in zip(SPLITS, plan.shards, ends, strict=True)
    }
    _check_filled(splits, plan.shards)
    return splits


def as_manifest(
    request: dict, splits: dict[str, list[dict]], duplicates: int, report: ReadReport
) -> dict:
    """Say in one JSON object what a corpus is and where it comes from."""
    return {
        "format": "sdjax corpus",
        "format_version": FORMAT_VERSION,
        "request": request,
        "split_rule": request["split"],
        "reviews": sum(s["reviews"] for split in splits.values() for s in split),
        "duplicates": duplicates,
        "report": report.as_json(),
        "splits": splits,
    }


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


def already_prepared(folder: Path, request: dict) -> bool:
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
    # Corpora of earlier versions were all made by the rules that are the default.
    default = {"split": SPLIT_RULES[0], "dedup": DEDUP_RULES[0]}
    found = default | read_manifest(folder).get("request", {})
    wanted = json.loads(json.dumps(request))
    differ = differences(found, wanted)
    if differ:
        raise InputError(
            f"{folder}: already holds another corpus ({'; '.join(differ)}); choose "
            "another output folder or delete this one"
        )
    return True
