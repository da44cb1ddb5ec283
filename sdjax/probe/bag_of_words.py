"""The baseline without a language model: logistic regression on word counts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from sdjax.probe.logistic import LinearFit, fit_l2
from sdjax.probe.sweep import Split
from sdjax.probe.targets import Targets

C_VALUES = (0.25, 1.0, 4.0, 16.0, 64.0)
# Punctuation marks count as words: "!" is informative, and with them hardly any text
# is empty.
_WORD = r"\w+|[^\w\s]"


@dataclass(frozen=True)
class BagOfWords:
    """The result of the baseline."""

    C: float  # inverse of the L2 penalty, chosen on valid
    words: int  # size of the vocabulary: words and bigrams of train
    scores: dict[str, dict]  # by split (`Targets.scores`)

    def as_json(self) -> dict:
        return asdict(self)


def count_words(texts: Mapping[str, Sequence[str]]) -> dict[str, csr_matrix]:
    """Count lower-cased words and bigrams, with the vocabulary of train.

    Args:
        texts: N strings by split.

    Returns:
        int64[N, words], sparse, by split. If train has no words at all, a single
        column of zeros.
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
    """Fit a subset of train at every C and evaluate on all splits.

    The features are sublinear tf-idf over the words that occur in the subset.

    Args:
        targets: the task.
        data: train, valid and test; only their labels are read.
        counts: word counts of each split (`count_words`).
        rows: int64[n], the subset: row numbers in train.

    Returns:
        For each of `C_VALUES` the scores by split; those of `train` are of the subset.
    """
    known = np.flatnonzero(counts["train"][rows].sum(axis=0))
    known = known if len(known) else np.array([0])  # no words: a column of zeros
    tfidf = TfidfTransformer(sublinear_tf=True).fit(counts["train"][rows][:, known])
    used = {**counts, "train": counts["train"][rows]}
    words = {name: tfidf.transform(count[:, known]) for name, count in used.items()}
    true = {name: split.positions for name, split in data.items()}
    true["train"] = true["train"][rows]
    scores = []
    for C in C_VALUES:
        fits = [fit_l2(words["train"], y, C) for y in data["train"].columns[rows].T]
        scores.append(
            {
                name: targets.scores(positions, _predict(targets, words[name], fits))
                for name, positions in true.items()
            }
        )
    return scores


def bag_of_words(
    targets: Targets, data: Mapping[str, Split], counts: Mapping[str, csr_matrix]
) -> BagOfWords:
    """Fit all of train and choose C on valid; ties go to the smaller C."""
    rows = np.arange(counts["train"].shape[0])
    by_C = fit_words(targets, data, counts, rows)
    best = int(np.argmax([scores["valid"][targets.criterion] for scores in by_C]))
    return BagOfWords(C_VALUES[best], counts["train"].shape[1], by_C[best])


def _predict(targets: Targets, words: csr_matrix, fits: Sequence[LinearFit]):
    scores = np.stack([words @ fit.weights + fit.intercept for fit in fits], axis=1)
    if targets.task == "multiclass":
        return scores.argmax(axis=1)
    positions = (scores > 0).astype(np.int64)
    return positions if targets.task == "multilabel" else positions[:, 0]
