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
    words, products = alternatives(SENTIMENT), alternatives(PRODUCTS)
    slots = dict.fromkeys(("a", "v", "s"), words)
    slots |= {
        "n": alternatives(NOUNS),
        "p": f"{words}|{products}",  # a predicate; in a neutral opening the product
        "A": alternatives(word.capitalize() for word in SENTIMENT),
        "aa": f"(?:a|an) (?:{words})",
        "i": alternatives(synthetic_words.INTENSIFIERS),
    }
    slots |= {k: v.replace(", ", "|") for k, v in synthetic_words.FILLERS.items()}
    parts = []
    for template in templates:
        part = re.escape(template)
        for name, slot in slots.items():
            part = part.replace(re.escape(f"{{{name}}}"), f"(?:{slot})")
        parts.append(part)
    return re.compile("|".join(parts))


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


def test_reviews_have_five_to_twelve_sentences(reviews_sample):
    lengths = [len(sentences(e.text)) for e in reviews_sample]
    assert (min(lengths), max(lengths)) == (5, 12)


def test_every_sentiment_word_follows_the_polarity(reviews_sample, labelled_sample):
    for text, label, *_ in itertools.chain(reviews_sample, labelled_sample):
        found = sentiment_words(text)
        assert all(SENTIMENT[word] == label for word in found), text


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


def test_no_sentiment_word_occurs_twice_in_a_sentence(reviews_sample, labelled_sample):
    for example in itertools.chain(reviews_sample[:5000], labelled_sample[:2000]):
        for sentence in sentences(example.text):
            found = sentiment_words(sentence)
            assert len(set(found)) == len(found), sentence


def test_labelled_texts_have_two_to_four_sentences(labelled_sample):
    lengths = [len(re.split(r"(?<=[.!]) ", e.text)) for e in labelled_sample]
    assert (min(lengths), max(lengths)) == (2, 4)


def test_reviews_mix_opinions_and_neutral_sentences(reviews_sample):
    neutral = pattern(
        synthetic_words.NEUTRAL_TEMPLATES + synthetic_words.NEUTRAL_OPENINGS
    )
    opinion = pattern(synthetic_words.TRAINING_TEMPLATES)
    closings = set(itertools.chain(*synthetic_words.CLOSINGS))
    counts = dict.fromkeys(("neutral", "opinion", "closing"), 0)
    for example in reviews_sample[:3000]:
        for sentence in sentences(example.text):
            kinds = [
                bool(neutral.fullmatch(sentence)),
                bool(opinion.fullmatch(sentence)),
                sentence in closings,
            ]
            assert sum(kinds) == 1, sentence
            counts[list(counts)[kinds.index(True)]] += 1
    total = sum(counts.values())
    assert 0.15 < counts["neutral"] / total < 0.3
    assert 0.6 < counts["opinion"] / total < 0.75


def test_held_out_templates_are_used_in_labelled_texts_only(
    reviews_sample, labelled_sample
):
    training = pattern(synthetic_words.TRAINING_TEMPLATES)
    held_out = pattern(synthetic_words.HELD_OUT_TEMPLATES)
    training_neutral = pattern(
        synthetic_words.NEUTRAL_TEMPLATES + synthetic_words.NEUTRAL_OPENINGS
    )
    held_out_neutral = pattern(synthetic_words.HELD_OUT_NEUTRAL_TEMPLATES)
    for sentence in {s for e in reviews_sample for s in sentences(e.text)}:
        assert not held_out.search(sentence), sentence
        assert not held_out_neutral.search(sentence), sentence
    for example in labelled_sample:
        rest = held_out.sub("", example.text)
        assert held_out.fullmatch(sentences(example.text)[-1]), example.text
        assert not held_out_neutral.sub("", rest).strip(), example.text
        assert not training.search(example.text), example.text
        assert not training_neutral.search(example.text), example.text


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
        assert gain < 0.07, gain


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
