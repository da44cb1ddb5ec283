"""The estimator finds effects that were planted, and its intervals hold the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from sdjax.study.effects import compare, contrast
from sdjax.study.gap import SPLITS, Arm, arms
from sdjax.study.gap_findings import FACTORS, PARTS, find, verdict

# What is planted in the gap with the final weights.
PLANTED = {
    "split": 0.03,
    "removed": -0.02,
    "copied": 0.04,
    "copied, split": -0.05,
    "reset": 0.01,
}
AVERAGING, REMAINING, HISTORY = 0.3, -0.015, -0.004


def planted(arm: Arm) -> float:
    """The gap of an arm; a treatment's effect is its mean over both splits."""
    side = 0.5 if arm.split == "shuffled" else -0.5
    # The split's effect is the mean over all arms: a third of them are copied.
    gap = REMAINING + side * (PLANTED["split"] - PLANTED["copied, split"] / 3)
    gap += PLANTED["removed"] * ((arm.duplicates == "removed") - 1 / 3)
    gap += PLANTED["copied"] * ((arm.duplicates == "copied") - 1 / 3)
    gap += PLANTED["copied, split"] * side * (arm.duplicates == "copied")
    return gap + PLANTED["reset"] * ((arm.carry == "reset") - 0.5)


def result_of(gap: float, spread: float = 0.0, rng=None) -> dict:
    """What `measure` gives, with that gap between the final losses."""
    train, shards, characters = 2.0, 8, 1000
    bits = np.full(shards, train - gap)
    if rng is not None:
        shift = rng.normal(0, spread, shards)
        bits += shift - shift.mean()
    nats = [[float(b * characters * math.log(2)), characters] for b in bits]
    return {
        "running": train + AVERAGING,
        "train": [[train * characters * math.log(2), characters]] * shards,
        "valid": nats,
        "valid_logged": train - gap - HISTORY,
        "characters": 40 * characters,
    }


def factorial(seeds, noise=0.0, rng=None) -> dict:
    """Results of every arm; runs of one draw share its noise."""
    draws: dict[str, float] = {}
    results = {}
    for group in arms(seeds):
        for arm in group:
            if arm.draw not in draws:
                draws[arm.draw] = rng.normal(0, noise) if rng is not None else 0.0
            results[arm] = result_of(planted(arm) + draws[arm.draw], 0.02, rng)
    return results


def test_planted_effects_are_found_exactly_where_there_is_no_noise():
    found = find(factorial([0, 1]))
    for name, value in PLANTED.items():
        effect = found.factors["remaining"][name]
        np.testing.assert_allclose(effect.value, value, atol=1e-12)
        assert effect.half < 1e-9 and effect.freedom == 2
        # Nothing was planted in the other parts.
        assert abs(found.factors["averaging"][name].value) < 1e-9
    means = {name: effect.value for name, effect in found.parts.items()}
    assert set(PLANTED) == set(FACTORS) and set(means) == set(PARTS)
    np.testing.assert_allclose(means["averaging"], AVERAGING, atol=1e-12)
    np.testing.assert_allclose(means["remaining"], REMAINING, atol=1e-12)
    np.testing.assert_allclose(means["history"], HISTORY, atol=1e-12)
    total = AVERAGING + REMAINING + HISTORY
    np.testing.assert_allclose(means["logged"], total, atol=1e-12)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of 400 factorials 95% should: fewer than 92% would be a mistake."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        noise = rng.normal(0, 1, (2, 3))
        noise[1] += 0.7
        mean, difference = compare(*noise)
        held.append(
            (
                abs(mean.value - 0.35) <= mean.half,
                abs(difference.value - 0.7) <= difference.half,
            )
        )
    assert (np.mean(held, axis=0) > 0.92).all(), np.mean(held, axis=0)
    assert (np.mean(held, axis=0) < 0.98).all()


def test_the_interval_is_that_of_students_two_sample_test():
    first, second = [1.0, 2.0, 4.0], [2.5, 3.0]
    _, difference = compare(first, second)
    expected = stats.ttest_ind(second, first).confidence_interval(0.95)
    low, high = (difference.value + side * difference.half for side in (-1, 1))
    np.testing.assert_allclose((low, high), tuple(expected), rtol=1e-12)


def test_what_draws_share_makes_the_split_uncertain_and_no_treatment():
    found = find(factorial([0, 1], noise=0.05, rng=np.random.default_rng(3)))
    factors = found.factors["remaining"]
    assert factors["split"].half > 0.01 and found.parts["remaining"].half > 0.01
    for name in ("removed", "copied", "reset"):
        assert factors[name].half < 1e-9
        np.testing.assert_allclose(factors[name].value, PLANTED[name], atol=1e-9)


def test_one_seed_has_no_interval():
    found = find(factorial([0]))
    assert all(math.isinf(effect.half) for effect in found.parts.values())
    assert not any(effect.is_seen for effect in found.factors["logged"].values())


def test_a_contrast_is_taken_in_each_draw():
    values = {("a", 1): 1.0, ("a", 2): 3.0, ("b", 1): 5.0, ("b", 2): 4.0}
    assert contrast(values, ["b", "a"], [1], [2]) == [1.0, -2.0]
    assert contrast(values, ["a", "b"], [1, 2]) == [2.0, 4.5]


def test_the_spread_of_shards_is_known():
    found = find(factorial([0, 1, 2], rng=np.random.default_rng(1)))
    for split in SPLITS:
        assert 0.01 < found.spread[split] < 0.03
        assert len(found.single[split]) == 3 * 6 * 8


@pytest.mark.parametrize(
    ("gap", "noise", "words"),
    [
        (0.0, 0.05, ["cannot be told from train"]),
        (0.5, 0.01, ["valid lies 0.5", "below train"]),
        (-0.5, 0.01, ["valid lies 0.4", "above train"]),
    ],
    ids=["null", "below", "above"],
)
def test_the_verdict_follows_the_numbers(gap, noise, words):
    rng = np.random.default_rng(5)
    draws: dict[str, float] = {}
    results = {}
    for group in arms([0, 1, 2, 3]):
        for arm in group:
            shared = draws.setdefault(arm.draw, gap + rng.normal(0, noise))
            results[arm] = result_of(shared, 0.02, rng)
    said = verdict(find(results), "some reviews", "48 runs")
    assert said.startswith("On some reviews, over 48 runs, ")
    assert "This holds for some reviews and says nothing of" in said
    for text in words:
        assert text in said, said
