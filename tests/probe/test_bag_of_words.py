"""The bag-of-words baseline: its vocabulary comes from the fitted texts alone."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from sdjax.probe import bag_of_words
from sdjax.probe.sweep import Split
from sdjax.probe.targets import Targets

TWO = Targets("binary", ("negative", "positive"), np.array([0.0, 1.0]))
GOOD, BAD = ("what a good film", "good, good!"), ("not a good film", "bad film")


def data(*counts: int):
    """Return splits with alternating labels, two texts per label, and no features."""
    positions = [np.arange(count) % 2 for count in counts]
    names = ("train", "valid", "test")[: len(counts)]
    splits = {
        n: Split(np.zeros((len(p), 0)), p, TWO.columns(p))
        for n, p in zip(names, positions, strict=True)
    }
    texts = {
        name: [
            (GOOD if label else BAD)[i // 2 % 2]
            for i, label in enumerate(split.positions)
        ]
        for name, split in splits.items()
    }
    return splits, texts


def test_words_and_pairs_of_words():
    splits, texts = data(20, 8, 8)
    counts = bag_of_words.count_words(texts)
    found = bag_of_words.bag_of_words(TWO, splits, counts)
    assert found.scores["test"]["accuracy"] == 1.0  # "not a" tells what "good" does not
    assert found.C == min(bag_of_words.C_VALUES)  # a tie goes to the smallest
    assert found.words == counts["train"].shape[1]


def test_fitting_a_subset_equals_scikit_learn_on_its_texts():
    splits, texts = data(40, 12, 12)
    texts["train"][30] = "a word of row 30 alone"
    texts["test"][3] = "a word unheard"
    rows = np.array([0, 1, 5, 6, 9, 11])
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+|[^\w\s]"
    )
    words = vectorizer.fit_transform([texts["train"][row] for row in rows])
    labels = splits["train"].positions[rows]
    expected = [
        LogisticRegression(solver="liblinear", C=c, random_state=0)
        .fit(words, labels)
        .score(vectorizer.transform(texts["test"]), splits["test"].positions)
        for c in bag_of_words.C_VALUES
    ]
    counts = bag_of_words.count_words(texts)
    found = bag_of_words.fit_words(TWO, splits, counts, rows)
    assert [scores["test"]["accuracy"] for scores in found] == expected


@pytest.mark.parametrize("text", ["", "  \n "])
def test_texts_without_a_word(text):
    splits, texts = data(8, 4, 4)
    counts = bag_of_words.count_words({n: [text] * len(t) for n, t in texts.items()})
    found = bag_of_words.bag_of_words(TWO, splits, counts)
    assert found.scores["test"]["accuracy"] == 0.5


def test_several_labels_at_once():
    many = Targets("multilabel", ("a", "b"))
    labels = np.array([[i % 2, i // 2 % 2] for i in range(24)])
    texts = [f"{'a' if a else 'x'} and {'b' if b else 'y'}" for a, b in labels]
    splits = {n: Split(np.zeros((24, 0)), labels, labels) for n in ("train", "valid")}
    counts = bag_of_words.count_words({name: texts for name in splits})
    found = bag_of_words.bag_of_words(many, splits, counts)
    assert found.scores["valid"]["accuracy"] == 1.0
    assert found.scores["valid"]["f1"] == {"a": 1.0, "b": 1.0}
