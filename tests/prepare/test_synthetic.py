"""The synthetic corpus: variety, balance, and nothing that reveals the label."""

import csv
import itertools
import re
import statistics

import numpy as np
import pytest

from sdjax.prepare import synthetic, synthetic_words
from sdjax.prepare.synthetic import is_held_out, labelled, reviews
from sdjax.prepare.synthetic_words import NOUNS, PRODUCTS, WORDS

SENTIMENT = {
    word: polarity
    for lists in WORDS.values()
    for polarity, words in enumerate(lists)
    for word in words
}
CANONICAL = {word.lower(): word for word in SENTIMENT}


def alternatives(words):
    # Longest first, so that "camera work" is not taken for "camera".
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


ANY_NOUN = re.compile(rf"\b({alternatives(NOUNS)})\b")
ANY_WORD = re.compile(rf"\b({alternatives(SENTIMENT)})(?![\w-])", re.IGNORECASE)


def sentiment_words(text):
    return [CANONICAL[word.lower()] for word in ANY_WORD.findall(text)]


def pattern(templates):
    """Return an expression that matches exactly the instances of the templates."""
    words, nouns = alternatives(SENTIMENT), alternatives(NOUNS)
    capital = alternatives(word.capitalize() for word in SENTIMENT)
    slots = {
        "n": nouns,
        "p": f"{words}|{nouns}",
        "A": capital,
        "aa": f"an? (?:{words})",
    }
    slots |= dict.fromkeys(("a", "v", "s"), words)
    slots |= {f"{name}-": slot for name, slot in slots.items()}
    slots["i"] = alternatives(synthetic_words.INTENSIFIERS)
    slots |= {k: v.replace(", ", "|") for k, v in synthetic_words.FILLERS.items()}
    parts = []
    for template in templates:
        part = re.escape(template)
        for name, slot in slots.items():
            part = part.replace(re.escape(f"{{{name}}}"), f"(?:{slot})")
        parts.append(part)
    return re.compile("|".join(parts))


def joined(clauses, held_out):
    """The opinions of the reviews, or of the labelled texts, as templates."""
    return [
        "".join("{" * (i % 2) + part + "}" * (i % 2) for i, part in enumerate(parts))
        for parts in synthetic._sentences(clauses, (), held_out)
    ]


PLAIN = {held: pattern(joined(synthetic_words.CLAUSES, held)) for held in (False, True)}
REVERSED = {
    held: pattern(joined(synthetic_words.REVERSED_CLAUSES, held))
    for held in (False, True)
}
TERSE = pattern(synthetic_words.TERSE)
REVERSED_TERSE = pattern(synthetic_words.REVERSED_TERSE)


def sentences(text):
    return re.split(r"(?<=[.!])\s+", text)


@pytest.fixture(scope="module")
def reviews_sample():
    return list(reviews(20_000, seed=0))


@pytest.fixture(scope="module")
def labelled_sample():
    return list(labelled(6_000, seed=0))


def pairings(examples):
    """Return all (sentiment word, noun) pairs that occur in a sentence."""
    distinct = {s for e in examples for s in sentences(e.text)}
    return {
        (word, noun)
        for sentence in distinct
        for word in sentiment_words(sentence)
        for noun in ANY_NOUN.findall(sentence)
    }


def test_the_word_lists_are_long_and_have_no_repeats():
    assert len(PRODUCTS) >= 30
    for polarity in (0, 1):
        assert sum(len(lists[polarity]) for lists in WORDS.values()) >= 25
    assert len(SENTIMENT) == sum(len(w) for lists in WORDS.values() for w in lists)


def test_reviews_depend_on_the_seed_alone():
    some = list(reviews(3000, seed=1))
    assert some == list(reviews(3000, seed=1))
    assert some[:1500] == list(reviews(1500, seed=1))
    assert some != list(reviews(3000, seed=2))
    assert [e.row for e in some] == list(range(3000))
    assert list(reviews(0)) == []


def test_reviews_have_three_to_eight_sentences(reviews_sample):
    lengths = [len(sentences(e.text)) for e in reviews_sample]
    assert (min(lengths), max(lengths)) == (3, 8)


def test_a_sentiment_word_has_the_polarity_unless_the_opinion_is_reversed(
    reviews_sample, labelled_sample
):
    reversed_ = dict.fromkeys(("reviews", "labelled"), 0)
    opinions = dict.fromkeys(("reviews", "labelled"), 0)
    samples = {"reviews": reviews_sample[:3000], "labelled": labelled_sample[:3000]}
    for name, sample in samples.items():
        held = name == "labelled"
        for text, label, *_ in sample:
            for sentence in sentences(text):
                adverbs = WORDS["adverb"][int(label)]
                words = [w for w in sentiment_words(sentence) if w not in adverbs]
                if not words:
                    continue
                turns = bool(
                    REVERSED[held].fullmatch(sentence)
                    or (not held and REVERSED_TERSE.fullmatch(sentence))
                )
                assert {SENTIMENT[w] for w in words} == {int(label) ^ turns}, text
                reversed_[name] += turns
                opinions[name] += 1
    share = {name: reversed_[name] / opinions[name] for name in samples}
    assert abs(share["reviews"] - synthetic._REVERSED_IN_REVIEWS / 100) < 0.02
    assert abs(share["labelled"] - synthetic._REVERSED_IN_LABELLED / 100) < 0.03


def test_every_reversed_clause_has_a_plain_one_with_the_same_words_around_its_word():
    """What a pair of words can see of a reversed opinion, it sees of plain ones too."""
    before = r"(\S*) ?\{(?:a|aa|v|p)-?\}"
    plain = {re.search(before, c)[1] for c in synthetic_words.CLAUSES}
    cues = {"not", "never", "hardly", "to"}
    for clause in synthetic_words.REVERSED_CLAUSES:
        assert re.search(before, clause)[1] in plain | cues, clause


def test_labels_are_balanced(reviews_sample, labelled_sample):
    for sample in (reviews_sample, labelled_sample):
        assert 0.48 < statistics.mean(e.label for e in sample) < 0.52


def test_neutral_sentences_have_no_sentiment_word():
    neutral = (
        *synthetic_words.NEUTRAL_OPENINGS,
        *synthetic_words.NEUTRAL_TEMPLATES,
        *synthetic_words.HELD_OUT_NEUTRAL_TEMPLATES,
    )
    assert not any(ANY_WORD.search(template) for template in neutral)


def test_reviews_mix_opinions_and_neutral_sentences(reviews_sample):
    neutral = pattern(
        synthetic_words.NEUTRAL_TEMPLATES + synthetic_words.NEUTRAL_OPENINGS
    )
    closings = set(itertools.chain(*synthetic_words.CLOSINGS))
    opinions = PLAIN[False], REVERSED[False], TERSE, REVERSED_TERSE
    counts = dict.fromkeys(("neutral", "opinion", "closing"), 0)
    for example in reviews_sample[:3000]:
        for sentence in sentences(example.text):
            kinds = [
                bool(neutral.fullmatch(sentence)),
                any(kind.fullmatch(sentence) for kind in opinions),
                sentence in closings,
            ]
            assert sum(kinds) == 1, sentence
            counts[list(counts)[kinds.index(True)]] += 1
    total = sum(counts.values())
    assert 0.2 < counts["neutral"] / total < 0.4
    assert 0.5 < counts["opinion"] / total < 0.7


def test_no_sentence_of_a_labelled_text_has_the_form_of_one_of_a_review(
    reviews_sample, labelled_sample
):
    held_out_neutral = pattern(synthetic_words.HELD_OUT_NEUTRAL_TEMPLATES)
    for sentence in {s for e in reviews_sample for s in sentences(e.text)}:
        assert not PLAIN[True].fullmatch(sentence), sentence
        assert not REVERSED[True].fullmatch(sentence), sentence
        assert not held_out_neutral.fullmatch(sentence), sentence
    for example in labelled_sample:
        kinds = [
            bool(PLAIN[True].fullmatch(sentence) or REVERSED[True].fullmatch(sentence))
            for sentence in sentences(example.text)
        ]
        assert any(kinds), example.text
        for sentence, opinion in zip(sentences(example.text), kinds, strict=True):
            assert opinion or held_out_neutral.fullmatch(sentence), example.text


def test_every_opening_and_every_clause_occurs_in_reviews():
    for clauses in (synthetic_words.CLAUSES, synthetic_words.REVERSED_CLAUSES):
        known = [
            (o, c)
            for o, c in itertools.product(
                range(len(synthetic_words.OPENINGS)), range(len(clauses))
            )
            if not synthetic.is_held_out_pair(o, c)
        ]
        assert {o for o, _ in known} == set(range(len(synthetic_words.OPENINGS)))
        assert {c for _, c in known} == set(range(len(clauses)))


def test_reviews_and_labelled_texts_share_no_pairing(reviews_sample, labelled_sample):
    seen, unseen = pairings(reviews_sample), pairings(labelled_sample)
    assert len(seen) > 1000 and len(unseen) > 300
    assert not seen & unseen
    assert not any(is_held_out(*pair) for pair in seen)
    assert all(is_held_out(*pair) for pair in unseen)


def test_every_word_and_noun_occurs_in_reviews(reviews_sample):
    seen = pairings(reviews_sample)
    assert {word for word, _ in seen} == set(SENTIMENT)
    assert {noun for _, noun in seen} == set(NOUNS)


@pytest.mark.parametrize(
    "measure",
    [
        len,
        lambda text: len(sentences(text)),
        lambda text: text.count("!"),
        lambda text: text.count(","),
        lambda text: text.count("-"),
        lambda text: text.count(" an "),
        lambda text: statistics.mean(map(len, text.split())),
    ],
    ids=["length", "sentences", "!", ",", "-", "an", "word length"],
)
def test_form_does_not_reveal_the_label(reviews_sample, labelled_sample, measure):
    for sample in (reviews_sample, labelled_sample):
        values = np.array([measure(e.text) for e in sample[:6_000]], float)
        labels = np.array([e.label for e in sample[:6_000]]) == 1
        # The best accuracy of any threshold on this measure, above chance.
        order = np.argsort(values, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)
        right = np.cumsum(np.where(labels[order], -1, 1))[ends]
        gain = max(np.abs(right).max(), abs(right[-1])) / len(values)
        assert gain < 0.06, gain


def test_articles():
    assert [synthetic.with_article(w) for w in ("ugly", "useless", "great")] == [
        "an ugly",
        "a useless",
        "a great",
    ]


def test_no_text_occurs_twice_in_the_written_files(tmp_path):
    paths = synthetic.write_labelled(tmp_path / "labelled", (200, 50, 50), seed=3)
    texts = []
    for split, count in (("train", 200), ("valid", 50), ("test", 50)):
        assert paths[split] == tmp_path / "labelled" / f"{split}.csv"
        with paths[split].open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == count
        assert {row["label"] for row in rows} == {"0", "1"}
        texts += [row["sentence"] for row in rows]
    assert len(set(texts)) == 300
    assert len(list((tmp_path / "labelled").iterdir())) == 3
    before = paths["test"].read_bytes()
    synthetic.write_labelled(tmp_path / "labelled", (200, 50, 50), seed=3)
    assert paths["test"].read_bytes() == before


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    paths = synthetic.write_labelled(tmp_path, (20, 5, 5))
    before = paths["train"].read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        synthetic.write_labelled(tmp_path, (20, 5, 5), seed=1)
    assert paths["train"].read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3
