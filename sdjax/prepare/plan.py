"""The rules by which a corpus is made: shards, seed, normalisation, split, dedup."""

from typing import NamedTuple

import numpy as np

from sdjax.data.corpus import SPLITS
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.prepare.segments import Layout
from sdjax.prepare.shards import spread_layout

SPLIT_RULES = ("shuffled", "contiguous")
DEDUP_RULES = ("exact", "none")


MOST_SHARDS = 10**6  # each block of the input has a table of them


class Plan(NamedTuple):
    """The rules by which a corpus is made.

    shards: numbers of shards of train, valid and test.
    seed: of the shuffle and the split.
    normalisation: of each text.
    split: "shuffled" splits after shuffling; "contiguous" cuts the input into as many
        parts as there are shards, assigns whole parts to valid and test, and shuffles
        within each split (Puri et al. 2018).
    dedup: "exact" keeps one of each set of equal reviews, "none" keeps all.
    """

    shards: tuple[int, int, int] = (1000, 1, 1)
    seed: int = 0
    normalisation: Normalisation = Normalisation()
    split: str = "shuffled"
    dedup: str = "exact"

    def check(self) -> None:
        """Check the values.

        Raises:
            InputError: one is not usable.
        """
        if len(self.shards) != len(SPLITS) or min(self.shards) < 1:
            raise InputError(
                f"shards are {self.shards}; give at least one for each of {SPLITS}"
            )
        if sum(self.shards) > MOST_SHARDS:
            raise InputError(
                f"shards are {self.shards}; give at most {MOST_SHARDS:,} in all"
            )
        if not -(2**63) <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}; give a signed 64-bit number")
        if self.split not in SPLIT_RULES:
            raise InputError(f"no split rule {self.split!r}; use one of {SPLIT_RULES}")
        if self.dedup not in DEDUP_RULES:
            raise InputError(f"no dedup rule {self.dedup!r}; use one of {DEDUP_RULES}")

    def as_json(self) -> dict:
        """Return the plan as it is stored in the manifest."""
        return {
            "normalisation": self.normalisation.as_json(),
            "seed": self.seed,
            "shards": list(self.shards),
            "split": self.split,
            "dedup": self.dedup,
        }

    @property
    def layout(self) -> Layout:
        """The layout of the segments.

        With "contiguous" it covers only train: held-out reviews get their shards later.
        """
        shards = sum(self.shards) if self.split == "shuffled" else self.shards[0]
        return Layout.of(shards) if self.dedup == "exact" else spread_layout(shards)

    def names(self) -> list[str]:
        """Return the names of all shards, by shard number."""
        counts = zip(SPLITS, self.shards, strict=True)
        return [f"{split}/{i:05d}" for split, count in counts for i in range(count)]

    def split_of_parts(self) -> np.ndarray:
        """Return the split of each part of the input, int64, as indices into SPLITS."""
        _, valid, test = self.shards
        key = np.random.Philox(key=np.array([self.seed % 2**64, 1], np.uint64))
        drawn = np.random.Generator(key).permutation(sum(self.shards))
        split = np.zeros(len(drawn), np.int64)
        split[drawn[:valid]], split[drawn[valid : valid + test]] = 1, 2
        return split
