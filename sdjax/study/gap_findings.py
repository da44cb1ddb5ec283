"""What the factorial of the gap found: its parts, its factors, and a verdict."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from sdjax.data.windows import CARRIES
from sdjax.report.numbers import typeset
from sdjax.study.effects import Effect, compare, contrast
from sdjax.study.gap import DUPLICATES, SPLITS, Arm
from sdjax.study.losses import Loss, total


class Gap(NamedTuple):
    """The gap of one run, training loss less validation loss, and its three parts.

    All in bits per character; `logged` is the sum of the other three.

    logged: as training logs both: the running average over the epoch, against valid
        read by `eval_batch_size` rows.
    averaging: what the running average is above the final weights on a sample of train.
    remaining: what the final weights give on that sample above valid, both read alike.
    history: what valid is above itself when it is read as training logs it: the rows
        are then of another length, with other warm history.
    """

    logged: float
    averaging: float
    remaining: float
    history: float


PARTS = {
    "logged": "the gap as it is logged",
    "averaging": "training loss averaged while the weights improve",
    "remaining": "final weights, train less valid, read alike",
    "history": "valid read in rows of another length",
}
# Each factor, and what is compared with what.
FACTORS = {
    "split": "split: shuffled against contiguous",
    "removed": "duplicates removed against kept",
    "copied": "5% copies against kept",
    "copied, split": "5% copies: shuffled against contiguous",
    "reset": "state reset against carried",
}


class Findings(NamedTuple):
    """What the runs together say.

    gaps: of each run.
    parts: the mean of each part of the gap over all runs, by its name in `PARTS`.
    factors: by part and name in `FACTORS`, what the factor changes in it.
    spread: by split rule, the standard deviation of single shards of valid, in one run.
    below: by split rule, the share of single shards of valid, over all its runs, whose
        loss is below that of train with the same final weights.
    single: by split rule, that difference of each single shard, float64[N].
    """

    gaps: Mapping[Arm, Gap]
    parts: Mapping[str, Effect]
    factors: Mapping[str, Mapping[str, Effect]]
    spread: Mapping[str, float]
    below: Mapping[str, float]
    single: Mapping[str, np.ndarray]


def gap_of(result: Mapping) -> Gap:
    """Return the gap of a run; `result` is what `losses.measure` gave."""
    train, valid = (_bits(result[split]) for split in ("train", "valid"))
    return Gap(
        logged=result["running"] - result["valid_logged"],
        averaging=result["running"] - train,
        remaining=train - valid,
        history=valid - result["valid_logged"],
    )


def find(results: Mapping[Arm, Mapping]) -> Findings:
    """Put the runs of a whole factorial together.

    All of it is compared between draws of what is held out (`effects`).
    """
    gaps = {arm: gap_of(result) for arm, result in results.items()}
    factors = {
        part: _effects({arm: getattr(gap, part) for arm, gap in gaps.items()})
        for part in PARTS
    }
    parts = {part: effects.pop("mean") for part, effects in factors.items()}
    single = {split: _single(results, split) for split in SPLITS}
    return Findings(
        gaps=gaps,
        parts=parts,
        factors=factors,
        spread={split: _spread(results, split) for split in SPLITS},
        below={split: float((single[split] > 0).mean()) for split in SPLITS},
        single=single,
    )


def _bits(losses: Sequence[Sequence]) -> float:
    return total([Loss(*loss) for loss in losses]).bits


def _effects(values: Mapping[Arm, float]) -> dict[str, Effect]:
    """Return the mean of some value of the runs, and what each factor changes in it."""
    by_draw = {
        ((a.split, a.seed), (a.duplicates, a.carry)): v for a, v in values.items()
    }
    seeds = sorted({arm.seed for arm in values})
    every = list(product(DUPLICATES, CARRIES))

    def of(one: Sequence, other: Sequence = ()) -> tuple[Effect, Effect]:
        groups = ([(split, seed) for seed in seeds] for split in SPLITS)
        return compare(*(contrast(by_draw, draws, one, other) for draws in groups))

    def with_(name: str) -> list:
        return [arm for arm in every if name in arm]

    mean, split = of(every)
    copied, copied_by_split = of(with_("copied"), with_("kept"))
    return {
        "mean": mean,
        "split": split,
        "removed": of(with_("removed"), with_("kept"))[0],
        "copied": copied,
        "copied, split": copied_by_split,
        "reset": of(with_("reset"), with_("carried"))[0],
    }


def _shards(result: Mapping) -> np.ndarray:
    return np.array([Loss(*loss).bits for loss in result["valid"]])


def _of(results: Mapping[Arm, Mapping], split: str) -> list[Mapping]:
    return [result for arm, result in results.items() if arm.split == split]


def _spread(results: Mapping[Arm, Mapping], split: str) -> float:
    """Return the standard deviation of valid's shards, its square averaged over runs.

    NaN where valid has one shard only.
    """
    each = [_shards(result) for result in _of(results, split)]
    if min(map(len, each)) < 2:
        return float("nan")
    return float(np.sqrt(np.mean([bits.var(ddof=1) for bits in each])))


def _single(results: Mapping[Arm, Mapping], split: str) -> np.ndarray:
    found = [_bits(r["train"]) - _shards(r) for r in _of(results, split)]
    return np.concatenate(found)


def verdict(found: Findings, corpus: str, about: str) -> str:
    """Say in a few sentences what the study found, from its numbers.

    Args:
        corpus: names what the runs were trained on.
        about: the runs, such as "24 runs of 128 units".
    """
    logged, averaging, rest = (
        found.parts[part] for part in ("logged", "averaging", "remaining")
    )
    text = f"On {corpus}, over {about}, the validation loss as it is logged "
    text += _side(logged, "the training loss")
    if logged.is_seen and averaging.is_seen:
        share = averaging.value / logged.value
        text += (
            f"; averaging the training loss while the weights improve makes"
            f" {shown(averaging)} of that, {share:.0%}"
        )
    text += ", and with the final weights on both, valid "
    text += _side(rest, "train") + ". "
    factors = found.factors["remaining"]
    seen = [name for name in FACTORS if factors[name].is_seen]
    if seen:
        each = (f"{FACTORS[name]} {shown(factors[name])}" for name in seen)
        text += f"What is left is changed by: {'; '.join(each)}. "
    others = [name for name in FACTORS if name not in seen]
    if others:
        each = (f"{FACTORS[name]} {shown(factors[name])}" for name in others)
        text += f"In what is left no effect is seen of: {'; '.join(each)}. "
    spread = found.spread["contiguous"]
    if np.isfinite(spread):
        text += (
            "Single shards of valid differ by a standard deviation of"
            f" {spread:.4f} (contiguous) and {found.spread['shuffled']:.4f}"
            f" (shuffled); {found.below['contiguous']:.0%} and"
            f" {found.below['shuffled']:.0%} of them lie below train"
        )
        least, most = sorted(found.below.values())
        both = 0.05 < most and least < 0.95
        text += (", so that one shard alone does not tell" if both else "") + ". "
    return text + (
        f"This holds for {corpus} and says nothing of text that is not named here."
    )


def _side(gap: Effect, what: str) -> str:
    """Say on which side valid lies; a gap above 0 is valid below `what`."""
    if not gap.is_seen:
        return f"cannot be told from {what} ({shown(gap)} bits per character below)"
    where = "below" if gap.value > 0 else "above"
    flipped = gap if gap.value > 0 else gap._replace(value=-gap.value)
    return f"lies {shown(flipped)} bits per character {where} {what}"


def shown(effect: Effect) -> str:
    """Show an effect with half of its interval, such as "0.0120 \u00b1 0.0031"."""
    value = typeset(effect.value, ".4f")
    if not np.isfinite(effect.half):
        return f"{value} (no interval: too few runs)"
    return f"{value} \u00b1 {effect.half:.4f}"
