"""What is asked of a corpus, besides what it is made of."""

from typing import NamedTuple

import numpy as np

from sdjax.data.corpus import SPLITS
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.prepare.segments import Layout
from sdjax.prepare.shards import spread_layout

SPLIT_RULES = ("shuffled", "contiguous")
DEDUP_RULES = ("exact", "none")


class Plan(NamedTuple):
    """The rules by which a corpus is made.

    shards: how many train, valid and test have.
    seed: another seed gives another shuffle and another split.
    normalisation: what is done to each text.
    split: "shuffled" splits after shuffling; "contiguous" cuts the input in as many
        parts as there are shards, gives some whole parts to valid and test, and
        shuffles within each split (Puri et al. 2018).
    dedup: "exact" drops all but one of equal reviews, "none" keeps them.
    """

    shards: tuple[int, int, int] = (1000, 1, 1)
    seed: int = 0
    normalisation: Normalisation = Normalisation()
    split: str = "shuffled"
    dedup: str = "exact"

    def check(self) -> None:
        """Refuse what no corpus can be made by."""
        if len(self.shards) != len(SPLITS) or min(self.shards) < 1:
            raise InputError(
                f"shards are {self.shards}; give at least one each: {SPLITS}"
            )
        if not -(2**63) <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}; give one of at most 63 bits")
        if self.split not in SPLIT_RULES:
            raise InputError(f"no split rule {self.split!r}; use one of {SPLIT_RULES}")
        if self.dedup not in DEDUP_RULES:
            raise InputError(f"no dedup rule {self.dedup!r}; use one of {DEDUP_RULES}")

    def as_json(self) -> dict:
        """Give it as it stands in a manifest."""
        return {
            "normalisation": self.normalisation.as_json(),
            "seed": self.seed,
            "shards": list(self.shards),
            "split": self.split,
            "dedup": self.dedup,
        }

    @property
    def layout(self) -> Layout:
        """How the segments are laid out: what is held out by row has no shard yet."""
        shards = sum(self.shards) if self.split == "shuffled" else self.shards[0]
        return Layout.of(shards) if self.dedup == "exact" else spread_layout(shards)

    def names(self) -> list[str]:
        """Name the shards, in the order of their digests' remainders."""
        counts = zip(SPLITS, self.shards, strict=True)
        return [f"{split}/{i:05d}" for split, count in counts for i in range(count)]

    def split_of_parts(self) -> np.ndarray:
        """Draw the parts of the input that are held out: index into SPLITS, int64."""
        _, valid, test = self.shards
        key = np.random.Philox(key=np.array([self.seed % 2**64, 1], np.uint64))
        drawn = np.random.Generator(key).permutation(sum(self.shards))
        split = np.zeros(len(drawn), np.int64)
        split[drawn[:valid]], split[drawn[valid : valid + test]] = 1, 2
        return split
