"""The baseline that needs no model: logistic regression on counts of words."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from sdjax.probe.logistic import LinearFit, fit_l2
from sdjax.probe.sweep import Split
from sdjax.probe.targets import Targets

STRENGTHS = (0.25, 1.0, 4.0, 16.0, 64.0)
# A mark counts as a word: "!" says something, and few texts are without any.
_WORD = r"\w+|[^\w\s]"


@dataclass(frozen=True)
class BagOfWords:
    """What the baseline reached."""

    strength: float  # chosen on valid
    words: int  # and pairs of words that train has
    scores: dict[str, dict]  # by split (`Targets.scores`)

    def as_json(self) -> dict:
        return asdict(self)


def count_words(texts: Mapping[str, Sequence[str]]) -> dict[str, csr_matrix]:
    """Count words and pairs of words, those that train has, in lower case.

    Args:
        texts: N strings by split.

    Returns:
        int64[N, words], sparse, by split. Where train has no word at all, one column
        of zeros.
    """
    vectorizer = CountVectorizer(ngram_range=(1, 2), token_pattern=_WORD)
    try:
        vectorizer.fit(texts["train"])
    except ValueError:  # an empty vocabulary
        return {name: csr_matrix((len(rows), 1)) for name, rows in texts.items()}
    return {name: vectorizer.transform(rows) for name, rows in texts.items()}


def fit_words(
    targets: Targets,
    data: Mapping[str, Split],
    counts: Mapping[str, csr_matrix],
    rows: np.ndarray,
) -> list[dict[str, dict]]:
    """Fit some rows of train at every strength and measure on valid and test.

    What is fitted is tf-idf, sublinear, over the words that these rows have.

    Args:
        targets: the task.
        data: train, valid and test; of their features nothing is read.
        counts: of each (`count_words`).
        rows: int64[n], of train.

    Returns:
        For each of `STRENGTHS` the scores of these rows as `train`, and of the others.
    """
    seen = np.flatnonzero(counts["train"][rows].sum(axis=0))
    seen = seen if len(seen) else np.array([0])  # no word: a column of zeros
    tfidf = TfidfTransformer(sublinear_tf=True).fit(counts["train"][rows][:, seen])
    shown = {**counts, "train": counts["train"][rows]}
    words = {name: tfidf.transform(count[:, seen]) for name, count in shown.items()}
    true = {name: split.positions for name, split in data.items()}
    true["train"] = true["train"][rows]
    found = []
    for strength in STRENGTHS:
        fits = [
            fit_l2(words["train"], y, strength) for y in data["train"].columns[rows].T
        ]
        found.append(
            {
                name: targets.scores(positions, _predict(targets, words[name], fits))
                for name, positions in true.items()
            }
        )
    return found


def bag_of_words(
    targets: Targets, data: Mapping[str, Split], counts: Mapping[str, csr_matrix]
) -> BagOfWords:
    """Fit all of train, choose the strength on valid (equal scores: the smaller)."""
    rows = np.arange(counts["train"].shape[0])
    found = fit_words(targets, data, counts, rows)
    best = int(np.argmax([scores["valid"][targets.criterion] for scores in found]))
    return BagOfWords(STRENGTHS[best], counts["train"].shape[1], found[best])


def _predict(targets: Targets, words: csr_matrix, fits: Sequence[LinearFit]):
    scores = np.stack([words @ fit.weights + fit.intercept for fit in fits], axis=1)
    if targets.task == "multiclass":
        return scores.argmax(axis=1)
    positions = (scores > 0).astype(np.int64)
    return positions if targets.task == "multilabel" else positions[:, 0]
