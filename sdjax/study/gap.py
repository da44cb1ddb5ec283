"""Why the validation loss lies below the training loss: the runs of the factorial."""

from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from sdjax.data.corpus import Corpus
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import Example, counted
from sdjax.data.text import Normalisation
from sdjax.data.windows import CARRIES
from sdjax.errors import InputError
from sdjax.prepare.pipeline import prepare
from sdjax.study import losses
from sdjax.study.stages import Share, left, stage

SPLITS = ("contiguous", "shuffled")
DUPLICATES = ("kept", "removed", "copied")
COPIED = 0.05  # of the texts are replaced by copies of others in the arm "copied"
SHARDS = (40, 8, 1)  # several of valid, so that their spread is known
_LOSSES = "losses.json"


class Arm(NamedTuple):
    """One run of the factorial.

    split: "contiguous" holds out whole parts of the input, "shuffled" goes by hash.
    duplicates: "kept" as they are, "removed" before the split, or "copied": kept, and
        5% of the texts are replaced by copies of others.
    carry: of the run's config.
    seed: of the split, the copies, the first weights and the order of shards.
    """

    split: str
    duplicates: str
    carry: str
    seed: int

    @property
    def draw(self) -> str:
        """What all runs have in common that hold out the same, such as "shuffled-0"."""
        return f"{self.split}-{self.seed}"

    @property
    def corpus(self) -> str:
        """The name of its corpus."""
        return f"{self.split}-{self.duplicates}-{self.seed}"

    @property
    def name(self) -> str:
        """The name of the run."""
        return f"{self.split}-{self.duplicates}-{self.carry}-{self.seed}"


class Plan(NamedTuple):
    """What all runs of the study have in common.

    folder: of the study.
    config: of the runs; corpus, seed, length and carry are set for each.
    shards: numbers of shards of train, valid and test.
    normalisation: of the texts.
    source: JSON-able, what the texts are.
    """

    folder: Path
    config: ConfigDict
    shards: tuple[int, int, int]
    normalisation: Normalisation
    source: dict


def arms(seeds: Sequence[int]) -> list[list[Arm]]:
    """Return the runs of the full factorial, in groups that share a corpus."""
    return [
        [Arm(split, duplicates, carry, seed) for carry in CARRIES]
        for seed, split, duplicates in product(seeds, SPLITS, DUPLICATES)
    ]


def first_texts(
    examples: Iterable[Example], characters: int, shards: tuple[int, int, int]
) -> list[str]:
    """Return as many texts, from the first on, as give train so many characters.

    Args:
        examples: in the order of the input.
        characters: bytes of train, about.
        shards: of train, valid and test, which share the texts.

    Raises:
        InputError: there is less text than that.
    """
    wanted = characters * sum(shards) / shards[0]
    texts, size = [], 0
    for example in examples:
        if size >= wanted:
            break
        texts.append(example.text)
        size += len(example.text.encode(errors="replace"))
    if size < wanted:
        raise InputError(
            f"--characters {characters:,}: with valid and test that takes"
            f" {wanted:,.0f} bytes of text, and the input has {size:,}; give fewer"
        )
    return texts


def with_copies(texts: Sequence[str], share: float, seed: int) -> list[str]:
    """Replace some texts, at random places, by copies of others that stay.

    So the amount of text stays about the same.

    Args:
        texts: in the order of the input.
        share: of them that are replaced.
        seed: of the choice.
    """
    key = np.random.Philox(key=np.array([seed, 7], np.uint64))
    drawn = np.random.Generator(key).permutation(len(texts))
    count = round(share * len(texts))
    found = list(texts)
    for place, origin in zip(drawn[:count], drawn[count : 2 * count], strict=True):
        found[place] = texts[origin]
    return found


def corpus_of(arm: Arm, plan: Plan, texts: Sequence[str]) -> Corpus:
    """Prepare the corpus of a run, unless it is there; raises as `prepare`."""
    copied = arm.duplicates == "copied"
    chosen = with_copies(texts, COPIED, arm.seed) if copied else texts
    report = ReadReport()
    examples = (Example(text, None, row) for row, text in enumerate(chosen))
    study = {"texts": len(texts), "duplicates": arm.duplicates}
    return prepare(
        counted(examples, len(chosen), report),
        plan.folder / "corpora" / arm.corpus,
        report=report,
        source={**plan.source, "study": study},
        shards=plan.shards,
        seed=arm.seed,
        normalisation=plan.normalisation,
        split=arm.split,
        dedup="exact" if arm.duplicates == "removed" else "none",
        progress=False,
    )


def config_of(arm: Arm, plan: Plan, corpus: Path) -> ConfigDict:
    """Return the config of a run: one epoch over its corpus."""
    config = plan.config.copy_and_resolve_references()
    config.corpus, config.seed, config.carry = str(corpus), arm.seed, arm.carry
    config.train_epochs, config.train_steps = 1.0, 0
    return config


def take(arm: Arm, plan: Plan, texts: Sequence[str]) -> dict:
    """Carry out the stages of a run that are not done; return its losses.

    Raises:
        InputError, SystemExit, OSError: as `prepare` and `train`.
    """
    folder = plan.folder / "runs" / arm.name

    def measured() -> dict:
        corpus = corpus_of(arm, plan, texts)
        config = config_of(arm, plan, corpus.folder)
        loaded = losses.trained(config, folder / "train")
        return losses.measure(loaded, config, folder / "train")

    return stage(folder / _LOSSES, measured)


def take_all(
    plan: Plan,
    texts: Sequence[str],
    seeds: Sequence[int],
    share: Share = Share(),  # noqa: B008
) -> dict[Arm, dict | None]:
    """Take the runs of a share; return what all runs left, None of those to come."""
    for arm in share.of_groups(arms(seeds)):
        take(arm, plan, texts)
    return {
        arm: left(plan.folder / "runs" / arm.name / _LOSSES)
        for group in arms(seeds)
        for arm in group
    }
