"""What is in a corpus, counted split by split."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from sdjax.data import protein
from sdjax.data.corpus import Corpus

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
_COMMON = 10  # bytes that are named
_PIECE = 2**24  # bytes counted at a time


class SplitStats(NamedTuple):
    """Counts of one split.

    reviews, size: how many, and how many bytes they have.
    lengths: distinct lengths of reviews in bytes, ascending, int64[n].
    counts: how many reviews have each of these, int64[n].
    byte_counts: int64[256].
    """

    reviews: int
    size: int
    lengths: np.ndarray
    counts: np.ndarray
    byte_counts: np.ndarray

    def quantile(self, share: float) -> int:
        """Return the length that this share of the reviews does not exceed."""
        below = np.cumsum(self.counts)
        return int(self.lengths[np.searchsorted(below, share * below[-1])])


def measure(corpus: Corpus, split: str, progress: bool = False) -> SplitStats:
    """Read a split through and count; memory holds one shard's offsets."""
    of_length, byte_counts = np.zeros(1, np.int64), np.zeros(256, np.int64)
    shards = corpus.shards[split]
    bar = tqdm(shards, f"counting {split}", disable=not progress, leave=False, delay=1)
    for index, _ in enumerate(bar):
        data = corpus.read(split, index)
        for begin in range(0, len(data), _PIECE):
            byte_counts += np.bincount(data[begin : begin + _PIECE], minlength=256)
        lengths, counts = np.unique(corpus.lengths(split, index), return_counts=True)
        if lengths[-1] >= len(of_length):
            of_length = np.pad(of_length, (0, int(lengths[-1]) + 1 - len(of_length)))
        of_length[lengths] += counts
    known = np.flatnonzero(of_length)
    return SplitStats(
        reviews=sum(shard.reviews for shard in shards),
        size=sum(shard.bytes for shard in shards),
        lengths=known,
        counts=of_length[known],
        byte_counts=byte_counts,
    )


def lines(corpus: Corpus, stats: Mapping[str, SplitStats]) -> Iterator[str]:
    """Say what is in a corpus and how it came about, line by line."""
    manifest, report = corpus.manifest, corpus.manifest["report"]
    request = manifest["request"]
    yield f"corpus               {corpus.folder}"
    yield f"fingerprint          {corpus.fingerprint[:16]}"
    yield f"source               {_source(request['source'])}"
    yield f"normalisation        {corpus.normalisation.as_json()}"
    rules = f"{manifest['split_rule']}, seed {request['seed']}"
    yield f"split                {rules}"
    yield f"rows read            {report['read']:,}"
    skipped = sum(report["skipped"].values())
    yield f"rows refused         {skipped:,}"
    for reason, count in report["skipped"].items():
        yield f"  {count:>12,}  {reason} (first: {report['first'][reason]})"
    for reason, count in report.get("left_out", {}).items():
        yield f"rows left out        {count:,} {reason}"
    yield f"duplicates removed   {manifest['duplicates']:,}"
    several = len(corpus.label_keys) > 1
    if several:
        yield f"labels               {', '.join(corpus.label_keys)}"
    for key in corpus.label_keys or (None,):
        if classes := corpus.classes_of(key):
            named = ", ".join(f"{i} {name}" for i, name in enumerate(classes))
            yield f"classes              {f'of {key}: ' if several else ''}{named}"
    yield ""
    yield "| split | shards | reviews | bytes | bytes a review | longest |"
    yield "|---|---|---|---|---|---|"
    for split, found in stats.items():
        yield (
            f"| {split} | {len(corpus.shards[split]):,} | {found.reviews:,} |"
            f" {found.size:,} | {found.size / found.reviews:,.1f} |"
            f" {found.lengths[-1]:,} |"
        )
    yield ""
    shares = " | ".join(f"{share:.0%}" for share in QUANTILES)
    yield f"| bytes that a share of the reviews does not exceed | {shares} |"
    yield "|---" * (1 + len(QUANTILES)) + "|"
    for split, found in stats.items():
        values = " | ".join(f"{found.quantile(share):,}" for share in QUANTILES)
        yield f"| {split} | {values} |"
    yield ""
    proteins = corpus.normalisation.codec == "protein"
    name = _protein_name if proteins else _name
    yield f"most common {'symbols' if proteins else 'bytes'}"
    for split, found in stats.items():
        order = np.argsort(-found.byte_counts, kind="stable")[:_COMMON]
        named = (
            f"{name(byte)} {found.byte_counts[byte] / found.size:.1%}"
            for byte in order.tolist()
            if found.byte_counts[byte]
        )
        yield f"  {split:<6} {'  '.join(named)}"


def _source(source: dict) -> str:
    names = [f["name"] for f in source.get("files", [source]) if "name" in f]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (", ".join(names[:3]) or "not named") + more


def _name(byte: int) -> str:
    return {0x20: "space", 0x0A: "newline"}.get(
        byte, chr(byte) if 0x20 < byte < 0x7F else f"0x{byte:02x}"
    )


def _protein_name(symbol: int) -> str:
    edges = {protein.START: "start", protein.STOP: "stop"}
    return edges.get(symbol) or protein.shown(bytes([symbol]))
