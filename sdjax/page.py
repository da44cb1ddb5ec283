"""The words of the report: what a probe found, as a page of Markdown."""

import json
from collections.abc import Mapping, Sequence

from sdjax.featurefile import FeatureSet
from sdjax.probe import SPLITS, ProbeResult

HOW_TO_READ = {
    "unit_weights": "How to read it: one line per unit of the model, as long as its "
    "weight in the L1 classifier. One line that dwarfs the others is a sentiment unit; "
    "many of equal length mean that sentiment is spread over them.",
    "unit_histogram": "How to read it: the top unit's value after the last character "
    "of each test text. The less the two classes overlap, the more the unit alone "
    "knows; what lies on the wrong side of the dashed threshold are its errors.",
    "topk_accuracy": "How to read it: test accuracy of classifiers that see the k "
    "strongest units only. A curve that is high at k = 1 and flat from there says that "
    "one unit holds nearly all; the hollow points are the L1 classifier on all units.",
    "training_curve": "How to read it: the model's loss (lower is better; the first "
    "steep moments are above the frame) and, where checkpoints were kept, how well "
    "their features classify the same test texts.",
    "coloured_texts": "How to read it: each character is coloured by the top unit's "
    "value after reading it; white is the unit's threshold, blue the side on which it "
    "says positive, red the side on which it says negative. A white box stands for a "
    "character that the font lacks.",
}


def headline(result: ProbeResult, bits_per_character: float | None = None) -> list[str]:
    """Say what was found in a few plain lines, for the report and for the terminal."""
    top = result.top_unit
    units = len(result.weights)
    lines = []
    if bits_per_character is not None:
        lines.append(f"bits per character (valid): {bits_per_character:.3f}")
    lines.append(
        f"accuracy of all {units:,} units (test): {result.accuracy['test']:.1%} "
        f"({result.nonzero:,} with a weight, C = {result.strength:g} chosen on valid)"
    )
    lines.append(
        f"top unit: {top.index}, sign {'+' if top.sign > 0 else '-'}, alone (test): "
        f"{top.accuracy['test']:.1%}"
    )
    lines.append(f"majority class (test): {result.majority['test']:.1%}")
    return lines


def compose(
    result: ProbeResult,
    splits: Mapping[str, FeatureSet],
    drawn: Sequence[str],
    reasons: Mapping[str, str],
    bits_per_character: float | None,
) -> str:
    """Put the page together.

    Args:
        result: what the probe found.
        splits: the features that were probed, by `train`, `valid` and `test`.
        drawn: names of the figures that there are, each in `<name>.png`.
        reasons: why a part is not there, by its name.
        bits_per_character: of the checkpoint on its valid split.
    """
    sections = [
        "# Sentiment probe",
        "\n".join(f"- {line}" for line in headline(result, bits_per_character)),
        "## Accuracy",
        _accuracy_table(result),
        "Rows of k units: logistic regression on the k units of largest absolute L1 "
        "weight (L2, C = 1, standardised). All units: the L1 classifier itself, on raw "
        "cell states. Everything is fitted on train; valid chose C; test was only "
        "measured. Majority class: always the larger class of that split.",
        *_figure("topk_accuracy", "Accuracy over k", drawn),
        f"## Unit {result.top_unit.index}",
        *_unit(result),
        *_figure("unit_histogram", "The top unit by class", drawn),
        *_figure("unit_weights", "L1 weight of every unit", drawn),
        *_figure("coloured_texts", "The top unit per character", drawn),
        *_figure("training_curve", "Training", drawn),
        "## Strength",
        _sweep_table(result),
        *_cautions(result),
        "## Where the features came from",
        _source_table(result, splits),
    ]
    if reasons:
        sections.append("## Not in this report")
        sections.append(
            "\n".join(
                f"- {name.replace('_', ' ')}: {why}" for name, why in reasons.items()
            )
        )
    return "\n\n".join(sections) + "\n"


def _figure(name: str, title: str, drawn: Sequence[str]) -> list[str]:
    return [f"![{title}]({name}.png)", HOW_TO_READ[name]] if name in drawn else []


def _accuracy_table(result: ProbeResult) -> str:
    rows = [(f"{p.k} unit{'s' if p.k > 1 else ''}", p.accuracy) for p in result.top_k]
    rows.append((f"all {len(result.weights):,} units (L1)", result.accuracy))
    rows.append(("majority class", result.majority))
    return _table(
        ("classifier", *SPLITS),
        [(name, *(f"{value[s]:.1%}" for s in SPLITS)) for name, value in rows],
    )


def _unit(result: ProbeResult) -> list[str]:
    top = result.top_unit
    larger, smaller = ("positive", "negative")[:: top.sign]
    text = (
        f"Larger values of unit {top.index} mean {larger}, smaller ones {smaller}: "
        f"above {top.threshold:.4g} its own logistic regression says {larger}. Its "
        f"weight there is {top.weight:.4g}, and {top.l1_weight:.4g} in the L1 "
        "classifier of all units."
    )
    if top.l1_weight * top.sign < 0:
        text += (
            " The two signs differ: among the other units it mostly corrects them; "
            "its meaning on its own is the one stated here."
        )
    levels = list(top.quantiles["negative"])
    return [
        text,
        _table(
            ("class (test)", *(f"{float(q):.0%} below" for q in levels)),
            [
                (name, *(f"{values[q]:.4g}" for q in levels))
                for name, values in top.quantiles.items()
            ],
        ),
    ]


def _sweep_table(result: ProbeResult) -> str:
    return _table(
        ("C", "valid accuracy", "units with a weight", ""),
        [
            (
                f"{point.strength:g}",
                f"{point.valid_accuracy:.2%}",
                f"{point.nonzero:,}",
                "chosen" if point.strength == result.strength else "",
            )
            for point in result.sweep
        ],
    )


def _cautions(result: ProbeResult) -> list[str]:
    """What a reader should know before trusting the numbers; mostly nothing."""
    cautions = []
    if not result.nonzero:
        cautions.append(
            "Every L1 weight is zero at the chosen strength: the classifier of all "
            "units is a constant, and the units are ranked by the absolute difference "
            "of their class means instead."
        )
    stuck = [f"{p.strength:g}" for p in result.sweep if not p.converged]
    if stuck:
        cautions.append(f"The fit did not converge at C = {', '.join(stuck)}.")
    return cautions


def _source_table(result: ProbeResult, splits: Mapping[str, FeatureSet]) -> str:
    keys = list(dict.fromkeys(key for s in splits.values() for key in s.metadata))
    counts = result.counts
    rows = [
        ("texts", *(f"{len(split):,}" for split in splits.values())),
        *(
            (f"{kind} texts", *(f"{counts[name][kind]:,}" for name in splits))
            for kind in ("negative", "positive")
        ),
    ]
    rows += [
        (key, *(_cell(split.metadata.get(key)) for split in splits.values()))
        for key in keys
    ]
    return _table(("", *splits), rows)


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
