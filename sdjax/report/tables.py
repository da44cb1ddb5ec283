"""The tables of the report, as header and rows of text."""

import json
from collections.abc import Mapping, Sequence

from sdjax.features.file import FeatureSet
from sdjax.portable import shown_metadata
from sdjax.probe.bag_of_words import BagOfWords
from sdjax.probe.l1_probe import ProbeResult
from sdjax.probe.label_efficiency import Efficiency
from sdjax.probe.sweep import SPLITS
from sdjax.report.numbers import MINUS, typeset

CRITERIA = {"accuracy": "accuracy", "f1_macro": "macro F1"}
_SIGNS = {1: "+", -1: MINUS}


def _table(header: Sequence[str], rows: Sequence, caption: str = "") -> dict:
    return {"header": header, "rows": rows, "caption": caption}


def quantiles(result: ProbeResult) -> dict:
    """Return the quantiles of the top unit on each side."""
    quantiles = result.top_unit.quantiles
    levels = list(next(iter(quantiles.values())))
    return _table(
        ("test texts", *(f"{float(q):.0%} below" for q in levels)),
        [
            (name, *(typeset(values[q], ".3g") for q in levels))
            for name, values in quantiles.items()
        ],
    )


def accuracy(result: ProbeResult, words: BagOfWords | None) -> dict:
    """Return accuracy by number of units, and of the baselines."""
    without = {point.k: point.accuracy for point in result.without_top_k}
    rows = [
        (
            f"{p.k} unit{'s' if p.k > 1 else ''}",
            *(f"{p.accuracy[s]:.1%}" for s in SPLITS),
            f"{without[p.k]['test']:.1%}" if p.k in without else "",
        )
        for p in result.top_k
    ]
    others = [
        (f"all {result.classifier.coef.shape[1]:,} units (L1)", result.accuracy),
        ("majority class", result.majority),
    ]
    if words is not None:
        accuracy = {name: value["accuracy"] for name, value in words.scores.items()}
        others.insert(1, ("bag of words", accuracy))
    rows += [(name, *(f"{v[s]:.1%}" for s in SPLITS), "") for name, v in others]
    return _table(("strongest units", *SPLITS, "test, without these"), rows, "Accuracy")


def efficiency(efficiency: Efficiency | None) -> dict:
    """Return accuracy by number of labelled texts."""
    curves = efficiency.curves if efficiency else {}
    sizes = [point.texts for point in next(iter(curves.values()), ())]
    return _table(
        ("labelled texts", *curves),
        [
            (f"{size:,}", *(_spread(points[i].accuracy) for points in curves.values()))
            for i, size in enumerate(sizes)
        ],
        "Test accuracy: mean over the draws (worst and best draw)",
    )


def _spread(values: Sequence[float]) -> str:
    mean = f"{sum(values) / len(values):.1%}"
    if len(values) == 1:
        return mean
    return f"{mean} ({100 * min(values):.1f}\u2013{100 * max(values):.1f})"


def classes(result: ProbeResult) -> dict | None:
    """Return the scores of each class; None if the task is binary."""
    if result.targets.task == "binary":
        return None
    f1 = {split: result.scores[split]["f1"] for split in SPLITS}
    return _table(
        ("class", "train texts", "test texts", "F1, test", "its unit", "alone, test"),
        [
            (
                unit.target,
                f"{result.counts['train'][unit.target]:,}",
                f"{result.counts['test'][unit.target]:,}",
                f"{f1['test'][unit.target]:.3f}",
                f"{unit.name} ({_SIGNS[unit.sign]})",
                f"{unit.accuracy['test']:.1%}",
            )
            for unit in result.class_units
        ],
        "Each class against the rest; alone: accuracy of the class's top unit there",
    )


def scores(result: ProbeResult, words: BagOfWords | None) -> dict:
    """Return all scores on test."""
    rows = [("all units", result.scores["test"])]
    if words is not None:
        rows.append(("bag of words", words.scores["test"]))
    keys = ("accuracy", "f1_macro", "jaccard", "matthews")
    return _table(
        ("test", "accuracy", "F1, macro", "Jaccard", "Matthews"),
        [
            (name, f"{s['accuracy']:.1%}", *(f"{s[key]:.3f}" for key in keys[1:]))
            for name, s in rows
        ],
    )


def sweep(result: ProbeResult) -> dict:
    """Return the valid score at every C."""
    name = CRITERIA[result.targets.criterion]
    return _table(
        ("C", f"{name}, valid", "nonzero weights", ""),
        [
            (
                f"{point.C:g}",
                f"{point.valid_score:.2%}",
                f"{point.nonzero:,}",
                "chosen" if point.C == result.C else "",
            )
            for point in result.sweep
        ],
    )


def sources(result: ProbeResult, splits: Mapping[str, FeatureSet]) -> dict:
    """Return the counts and metadata of the features, by split."""
    shown = {name: shown_metadata(split.metadata) for name, split in splits.items()}
    keys = list(dict.fromkeys(key for metadata in shown.values() for key in metadata))
    counts = result.counts
    rows = [("texts", *(f"{len(split):,}" for split in splits.values()))]
    rows += [
        (f"{kind} texts", *(f"{counts[name][kind]:,}" for name in splits))
        for kind in result.targets.classes
    ]
    rows += [
        (key, *(_cell(metadata.get(key)) for metadata in shown.values()))
        for key in keys
    ]
    return _table(("", *splits), rows)


def _cell(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
