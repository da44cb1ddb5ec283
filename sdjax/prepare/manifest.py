"""What a corpus is made of, checked and put into its manifest; both engines use it."""

import json
import os
from pathlib import Path

import numpy as np

from sdjax.data.corpus import (
    FORMAT_VERSION,
    MANIFEST,
    ONE_LABEL_VERSION,
    SPLITS,
    read_manifest,
)
from sdjax.data.corpus_labels import label_keys_of
from sdjax.data.parts import comparable
from sdjax.data.read_report import ReadReport
from sdjax.errors import InputError, differences
from sdjax.prepare.plan import DEDUP_RULES, SPLIT_RULES, Plan


def in_splits(entries: list[dict], plan: Plan) -> dict[str, list[dict]]:
    """Group the entries of all shards by split.

    Args:
        entries: of all shards, in the order of `Plan.names`.
        plan: the rules of the corpus.

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
    """Return the manifest of a corpus, as JSON-able values."""
    several = len(label_keys_of(request["source"])) > 1
    return {
        "format": "sdjax corpus",
        "format_version": FORMAT_VERSION if several else ONE_LABEL_VERSION,
        "request": request,
        "classes": request["source"].get("classes"),
        "split_rule": request["split"],
        "reviews": sum(s["reviews"] for split in splits.values() for s in split),
        "duplicates": duplicates,
        "report": report.as_json(),
        "splits": splits,
    }


def check_enough(reviews: int, shards: tuple[int, int, int]) -> None:
    """Refuse fewer reviews than shards, before any time is spent on shards.

    Args:
        reviews: duplicates included.

    Raises:
        InputError: says how many shards would do.
    """
    if reviews < sum(shards):
        raise _too_few(reviews, sum(shards) - reviews, shards)


def _check_filled(splits: dict[str, list[dict]], shards: tuple[int, int, int]) -> None:
    reviews = sum(entry["reviews"] for split in splits.values() for entry in split)
    empty = sum(not entry["reviews"] for split in splits.values() for entry in split)
    if empty:
        raise _too_few(reviews, empty, shards)


def _too_few(reviews: int, empty: int, shards: tuple[int, int, int]) -> InputError:
    # With 20 reviews per shard on average, the chance that a given shard is empty
    # is 1 in 5e8.
    fewer = max(1, reviews // 20 - shards[1] - shards[2])
    return InputError(
        f"{reviews:,} different reviews leave {empty:,} of {sum(shards):,} shards "
        f"empty; ask for fewer: --shards {fewer}/{shards[1]}/{shards[2]}"
        if reviews // 20 > shards[1] + shards[2]
        else f"{reviews:,} different reviews are too few for a corpus of "
        f"{sum(shards):,} shards; give at least {20 * (1 + shards[1] + shards[2])} "
        f"and --shards 1/{shards[1]}/{shards[2]}"
    )


def already_prepared(folder: Path, request: dict) -> bool:
    """Tell whether `folder` already holds the requested corpus.

    Raises:
        InputError: it holds anything else.
    """
    if not os.path.lexists(folder):
        return False
    if not folder.exists():
        raise InputError(
            f"{folder}: is a symbolic link to nothing; choose another output folder"
        )
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file; choose another output folder")
    if not any(folder.iterdir()):
        return False
    if not (folder / MANIFEST).exists():
        raise InputError(
            f"{folder}: not empty and not a corpus; choose another output folder"
        )
    # Corpora of earlier versions do not name their rules, which are now the defaults.
    default = {"split": SPLIT_RULES[0], "dedup": DEDUP_RULES[0]}
    existing = default | read_manifest(folder).get("request", {})
    wanted = json.loads(json.dumps(request))
    wanted["source"] = comparable(wanted["source"], existing.get("source"))
    differ = differences(existing, wanted)
    if differ:
        raise InputError(
            f"{folder}: already holds another corpus ({'; '.join(differ)}); choose "
            "another output folder or delete this one"
        )
    return True
