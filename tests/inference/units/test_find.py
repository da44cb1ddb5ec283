"""Planted units are found with the right score; scores are what they say they are."""

from functools import cache

import numpy as np
import planted
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from sdjax.errors import InputError
from sdjax.features.encoder import Encoder
from sdjax.inference.units import held_out as scores_held_out
from sdjax.inference.units import texts as unit_texts
from sdjax.inference.units.find import find_units
from sdjax.inference.units.properties import BUILT_IN, from_patterns
from sdjax.inference.units.texts import ReadText, halves
from sdjax.report import units_page

PATTERNS = {"vowel": "[aeiou]"}
TEXTS = planted.texts()
LABELS = [float(text.count('"') > 3) for text in TEXTS]
COLUMNS = {"talkative": LABELS, "length": [len(text) for text in TEXTS]}


@cache
def found(**options):
    return find_units(
        planted.loaded(),
        TEXTS,
        patterns=PATTERNS,
        columns=COLUMNS,
        units=[0],
        **options,
    )


def named(name, findings=None):
    (one,) = [p for p in (findings or found()).properties if p.name == name]
    return one


def read() -> list[ReadText]:
    normalisation = planted.loaded().meta.normalisation
    rows = zip(*COLUMNS.values(), strict=True)
    return [
        ReadText.of(text, normalisation, row)
        for text, row in zip(TEXTS, rows, strict=True)
    ]


@cache
def directly(side: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """States and properties of the characters of one side, text by text."""
    texts = halves(read(), 0)[side]
    encoder = Encoder(planted.model(), planted.params(), layers="all")
    states = [encoder.trace(text.data)[text.last_bytes()] for text in texts]
    values = {
        p.name: np.concatenate([p.values(text.text) for text in texts])
        for p in [*BUILT_IN, *from_patterns(PATTERNS)]
    }
    for place, name in enumerate(COLUMNS):
        values[name] = np.concatenate(
            [np.full(len(text.text), text.columns[place]) for text in texts]
        )
    return np.concatenate(states), values


def effect(unit: int, name: str, side: int) -> float:
    """How a unit follows a property, by other people's code; 0 is not at all."""
    states, values = directly(side)
    if named(name).yes_no:
        return roc_auc_score(values[name] > values[name].min(), states[:, unit]) - 0.5
    return spearmanr(states[:, unit], values[name]).statistic


def test_the_quote_detector_is_found_with_a_perfect_score():
    quotes = named("in quotes")
    assert quotes.best.unit == planted.UNIT and quotes.best.rises
    assert quotes.best.score == 1 and quotes.best.error == 0
    # A unit of the layer above reads it.
    assert planted.UNIT != quotes.runner_up.unit and quotes.runner_up.score < 1
    assert quotes.above_chance and quotes.chance.max() < 0.9
    assert 0.5 < np.median(quotes.chance)
    assert units_page.label(planted.UNIT, found()) == f"0:{planted.UNIT}"


def test_a_quote_that_is_never_closed_costs_it_what_it_should():
    texts = [*TEXTS, 'Here one " is left open and the rest of it is not quoted.']
    sides = ([t.text for t in halves(texts_of(texts), s)[1]] for s in range(20))
    # The first seed that has it among those held out.
    seed, side = next((s, x) for s, x in enumerate(sides) if texts[-1] in x)
    findings = find_units(planted.loaded(), texts, seed=seed)
    truth = np.concatenate([BUILT_IN[0].values(text) for text in side])
    wrong = sum(len(text) - text.index('"') for text in side if text.count('"') % 2)
    quotes = named("in quotes", findings)
    assert quotes.best.unit == planted.UNIT
    # The unit holds the same there as inside, give or take its last bit.
    most = wrong / (truth == 0).sum()
    assert 0 <= 1 - quotes.best.score <= most


def texts_of(texts) -> list[ReadText]:
    normalisation = planted.loaded().meta.normalisation
    return [ReadText.of(text, normalisation, ()) for text in texts]


def test_scores_and_choices_are_those_of_other_peoples_code():
    assert len(found().properties) >= 9
    for one in found().properties:
        effects = [effect(unit, one.name, 0) for unit in range(planted.OTHERS)]
        # Choices go by 4,096 bins, so units that are as good may change places.
        sizes = np.sort(np.abs(effects))[::-1]
        assert abs(effects[one.best.unit]) == pytest.approx(sizes[0], abs=2e-3)
        assert abs(effects[one.runner_up.unit]) == pytest.approx(sizes[1], abs=2e-3)
        for candidate in (one.best, one.runner_up):
            value = effect(candidate.unit, one.name, 1)
            value = value if candidate.rises else -value
            value += 0.5 if one.yes_no else 0
            assert candidate.score == pytest.approx(value, abs=1e-4), one.name
        values = directly(1)[1][one.name]
        mean = (values > values.min()).mean() if one.yes_no else values.mean()
        assert one.mean == pytest.approx(mean, rel=1e-5)


def test_bins_give_the_same_scores_within_what_they_say(monkeypatch):
    monkeypatch.setattr(scores_held_out, "EXACT_UP_TO", 0)
    binned = find_units(
        planted.loaded(), TEXTS, patterns=PATTERNS, columns=COLUMNS, units=[0]
    )
    for one, exact in zip(binned.properties, found().properties, strict=True):
        assert one.best.unit == exact.best.unit
        assert 0 < one.best.error < 0.01 or one.name == "in quotes"
        assert abs(one.best.score - exact.best.score) <= one.best.error + 1e-9


def test_blocks_and_batches_change_no_score(monkeypatch):
    monkeypatch.setattr(unit_texts, "_BLOCK", 300)
    small = find_units(
        planted.loaded(), TEXTS, patterns=PATTERNS, columns=COLUMNS, batch_size=3
    )
    for one, whole in zip(small.properties, found().properties, strict=True):
        assert one.best.unit == whole.best.unit
        assert one.best.score == pytest.approx(whole.best.score, abs=1e-4)


def test_what_does_not_vary_is_left_out_and_said():
    left_out = dict(found().left_out)
    assert left_out["in a tag"] == "at no character"
    assert left_out["since a newline"] == "always 0"
    same = find_units(planted.loaded(), TEXTS, columns={"same": [1.0] * len(TEXTS)})
    assert dict(same.left_out)["same"] == "always 1"


def test_a_profile_says_what_the_unit_does():
    (profile,) = [p for p in found().profiles if p.unit == planted.UNIT]
    states, values = directly(1)
    unit = states[:, planted.UNIT]
    assert profile.mean == pytest.approx(unit.mean(dtype=float), abs=1e-5)
    assert profile.deviation == pytest.approx(unit.std(dtype=float), rel=1e-4)
    assert profile.counts.sum() == len(unit)
    assert profile.follows[0][0] == "in quotes"
    assert profile.follows[0][1] == pytest.approx(1, abs=1e-3)
    (rising, *_), _ = profile.characters
    # Half of all quotes raise it by two, the others lower it.
    assert '"' in {change.read for side in profile.characters for change in side}
    assert profile.highest[0].value == pytest.approx(1, abs=1e-3)
    assert len({context.before for context in profile.highest}) > 1
    assert 3 < profile.time < 60  # as long as a sentence
    assert {p.unit for p in found().profiles} >= {0, planted.UNIT}


def test_autocorrelation_is_that_of_the_series():
    (profile,) = [p for p in found().profiles if p.unit == 0]
    texts = halves(read(), 0)[1]
    states, at = directly(1)[0][:, 0].astype(float), 0
    mean = directly(0)[0][:, 0].mean(dtype=float)  # as known from the choice
    products, pairs = np.zeros(40), np.zeros(40)
    for text in texts:
        series = states[at : at + len(text.text)] - mean
        at += len(series)
        for lag in range(40):
            products[lag] += np.sum(series[lag:] * series[: len(series) - lag])
            pairs[lag] += len(series) - lag
    expected = products / pairs
    np.testing.assert_allclose(
        profile.correlation[:40], expected / expected[0], atol=1e-4
    )


def test_the_page_shows_it_all_and_loads_nothing():
    page = units_page.page(found())
    for outside in ("http://", "https://", "<script", "src="):
        assert outside not in page
    assert f'id="u{planted.UNIT}"' in page and "Unit 0:5" in page
    assert page.count("<h3") == len(found().properties) + len(found().profiles)
    assert 'class="m p16"' in page  # inside quotes, underlined, and full of colour
    assert "talkative 1:" in page and "talkative 0:" in page
    lines = units_page.table(found())
    assert any(
        x.startswith("in quotes") and "0:5 +" in x and "1.000" in x for x in lines
    )


def test_a_model_that_has_diverged_is_refused():
    loaded = planted.loaded()
    params = {**loaded.params, "recurrent_1": dict(loaded.params["recurrent_1"])}
    params["recurrent_1"]["b"] = np.full_like(params["recurrent_1"]["b"], np.nan)
    with pytest.raises(InputError, match="8 units of this model hold"):
        find_units(loaded._replace(params=params), TEXTS[:4])


def test_wrong_requests_are_refused():
    def refused(*words, **options):
        texts = options.pop("texts", TEXTS)
        with pytest.raises(InputError) as error:
            find_units(planted.loaded(), texts, **options)
        assert all(word in str(error.value) for word in words)

    refused("1 texts", texts=["one", " "])
    refused("'stars'", "1 values", "40 texts", columns={"stars": [1]})
    refused("in quotes", "twice", patterns={"in quotes": "x"})
    refused("unit 16", "0..15", units=[16])
    refused("permutations", permutations=0)
    refused("'age'", "not finite", columns={"age": [np.nan] * len(TEXTS)})
    refused("state 'gates'", "cell", state="gates")
    refused("no property is left", texts=["a", "a"])
