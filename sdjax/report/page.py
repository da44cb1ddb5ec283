"""The text of the report, and its HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from markupsafe import Markup, escape

from sdjax.features.file import FeatureSet
from sdjax.features.trace import TracedText
from sdjax.portable import checkpoint_shown
from sdjax.probe import overlap
from sdjax.probe.bag_of_words import BagOfWords
from sdjax.probe.l1_probe import ProbeResult
from sdjax.probe.label_efficiency import Efficiency
from sdjax.probe.sweep import SPLITS
from sdjax.report import style, tables
from sdjax.report.coloured_text import MAX_CHARACTERS, Scale, palette, spans
from sdjax.report.html import render

HOW_TO_READ = {
    "unit_histogram": "The unit's value after the last character of each test text. "
    "The less the two sides overlap, the better the unit alone classifies. The texts "
    "on the wrong side of the dashed threshold are its errors.",
    "topk_accuracy": "Solid: classifiers on only the k top units. If the curve is high "
    "at k = 1 and flat from there, one unit holds nearly all the information. Dashed: "
    "classifiers on all units except these k; if that curve stays high, other units "
    "hold the information too. Hollow points: the classifier on all units.",
    "unit_weights": "One line per unit: its effect, which is its L1 weight times the "
    "difference of its class means, or how far it moves the mean scores of the two "
    "sides apart. If one line is much longer than the others, that unit dominates. "
    "Many lines of similar length mean that the information is spread out.",
    "data_efficiency": "Mean test accuracy over the draws; the band reaches from the "
    "worst draw to the best. C is chosen on valid at each size. The top unit was found "
    "with all labels; its curve shows how many labels it takes to calibrate it.",
    "training_curve": "The model's loss (lower is better; the steep start is cut off) "
    "and, if checkpoints were kept, the test accuracy of a probe on their features.",
    "coloured_texts": "Each character is coloured by the unit's value after reading "
    "it; no colour means the unit's threshold. Point at a character to see the value.",
}


def headline(
    result: ProbeResult,
    bits_per_character: float | None = None,
    words: BagOfWords | None = None,
) -> list[str]:
    """Return the main results in a few lines, for the terminal."""
    top, targets = result.top_unit, result.targets
    units = result.classifier.coef.shape[1]
    lines = []
    if bits_per_character is not None:
        lines.append(f"bits per character (valid): {bits_per_character:.3f}")
    lines.append(
        f"accuracy of all {units:,} units (test): {result.accuracy['test']:.1%} "
        f"({result.nonzero:,} with a weight, C = {result.C:g} chosen on valid)"
    )
    if targets.task != "binary":
        scores = result.scores["test"]
        lines.append(
            f"macro F1 {scores['f1_macro']:.3f}, Jaccard {scores['jaccard']:.3f}, "
            f"Matthews {scores['matthews']:.3f} ({len(targets.classes)} classes)"
        )
    against = "" if targets.task == "binary" else f" for {top.target!r} against others"
    lines.append(
        f"top unit: {top.name}, sign {'+' if top.sign > 0 else '-'}, alone{against} "
        f"(test): {top.accuracy['test']:.1%}"
    )
    if words is not None:
        lines.append(f"bag of words (test): {words.scores['test']['accuracy']:.1%}")
    lines.append(f"majority class (test): {result.majority['test']:.1%}")
    return lines


def compose(
    result: ProbeResult,
    splits: Mapping[str, FeatureSet],
    figures: Mapping[str, str],
    reasons: Mapping[str, str],
    *,
    bits_per_character: float | None,
    words: BagOfWords | None,
    efficiency: Efficiency | None,
    traced: Sequence[tuple[str, TracedText]],
) -> str:
    """Return the report as a self-contained HTML page.

    Args:
        result: of the probe.
        splits: the features that were probed, by `train`, `valid` and `test`.
        figures: SVG by name.
        reasons: why optional parts are missing, by their names.
        bits_per_character: of the checkpoint on its valid split.
        words: the bag-of-words baseline.
        efficiency: accuracy by number of labelled texts.
        traced: (heading, text), in display order.
    """
    top = result.top_unit
    sides = tuple(top.quantiles)
    scale = Scale.of(asdict(top))
    return render(
        "report.html",
        title=f"Probe report: unit {top.name}",
        subtitle=_subtitle(result, splits),
        cards=_cards(result, bits_per_character, words),
        summary=_summary(result, words),
        cautions=[
            *_cautions(result),
            *overlap.warnings(splits, overlap.find_overlap(splits)),
        ],
        unit=top.name,
        unit_words=_unit_words(result),
        sides=sides,
        quantiles=tables.quantiles(result),
        palette=palette(),
        texts=[
            {"heading": heading, "spans": spans(text, scale, MAX_CHARACTERS)}
            for heading, text in traced
        ],
        figures={
            name: Markup(style.inline(svg, escape(HOW_TO_READ[name])))
            for name, svg in figures.items()
        },
        how_to_read=HOW_TO_READ,
        accuracy=tables.accuracy(result, words),
        efficiency=tables.efficiency(efficiency),
        classes=tables.classes(result),
        method=_method(result, words),
        scores=tables.scores(result, words),
        sweep=tables.sweep(result),
        sources=tables.sources(result, splits),
        absent=[f"{name.replace('_', ' ')}: {why}" for name, why in reasons.items()],
    )


def _subtitle(result: ProbeResult, splits: Mapping[str, FeatureSet]) -> str:
    units = result.classifier.coef.shape[1]
    where = checkpoint_shown(splits["test"].metadata)
    model = f"Checkpoint {where}, " if where else ""
    texts = ", ".join(f"{len(splits[name]):,} {name}" for name in SPLITS)
    return f"{model}{units:,} units. Labelled texts: {texts}."


def _cards(
    result: ProbeResult, bits_per_character: float | None, words: BagOfWords | None
) -> list[dict]:
    """Return the key numbers, all on test unless their name says otherwise."""
    top = result.top_unit
    binary = result.targets.task == "binary"
    what = "accuracy" if binary else f"accuracy for {top.target!r} against the rest"
    cards = [
        ("top unit alone, " + what, f"{top.accuracy['test']:.1%}"),
        ("all units, accuracy", f"{result.accuracy['test']:.1%}"),
        ("majority class", f"{result.majority['test']:.1%}"),
    ]
    if words is not None:
        value = f"{words.scores['test']['accuracy']:.1%}"
        cards.insert(2, ("bag of words, accuracy", value))
    if bits_per_character is not None:
        cards.append(("bits per character, valid", f"{bits_per_character:.3f}"))
    return [{"name": name, "value": value} for name, value in cards]


def _summary(result: ProbeResult, words: BagOfWords | None) -> list[str]:
    """Return the key numbers in sentences."""
    top, test = result.top_unit, result.accuracy["test"]
    floor = result.majority["test"]
    low, high = list(top.quantiles)[:: top.sign]
    text = (
        "A language model was trained on text without labels, one character at a time. "
        "A linear classifier on the state of its "
        f"{result.classifier.coef.shape[1]:,} units after each labelled text predicts "
        f"{test:.1%} of the test labels correctly; always predicting the most frequent "
        f"label is correct for {floor:.1%}."
    )
    unit = (
        f"The unit that is best alone is {top.name}: above {top.threshold:.3g} it "
        f"predicts {high}, below {low}, which alone is correct for "
        f"{top.accuracy['test']:.1%} of the test texts."
    )
    if words is not None:
        unit += (
            " A classifier that counts words and word pairs, without a language model, "
            f"reaches {words.scores['test']['accuracy']:.1%}."
        )
    return [text, unit]


def _unit_words(result: ProbeResult) -> str:
    top = result.top_unit
    smaller, larger = list(top.quantiles)[:: top.sign]
    text = (
        f"Larger values of unit {top.name} mean {larger}, smaller ones {smaller}: "
        f"above {top.threshold:.4g} its own logistic regression predicts {larger}. Its "
        f"weight is {top.weight:.4g} there and {top.l1_weight:.4g} in the L1 "
        "classifier on all units."
    )
    if top.l1_weight * top.sign < 0:
        text += (
            " The two signs differ because in the joint classifier this unit mostly "
            "corrects other units; its meaning on its own is the one stated here."
        )
    return text


def _method(result: ProbeResult, words: BagOfWords | None) -> list[str]:
    task, criterion = result.targets.task, result.targets.criterion
    each = "" if task == "binary" else ", each class against the rest"
    text = (
        "Features are the raw states after the last character of a text. All units: L1 "
        f"logistic regression{each}, with C chosen on valid by "
        f"{tables.CRITERIA[criterion]}. k units: logistic regression (L2, C = 1, "
        "standardised) on the top unit, which of those with a weight separates the "
        "classes of train best alone (area under the ROC curve), and on those of the "
        "largest effect, which is L1 weight times difference of class means. "
        "Everything is fitted on train; test is only evaluated."
    )
    if task == "multilabel":
        text += (
            " Accuracy is the share of texts with every label correct. Each label has "
            "the threshold of best F1 on valid."
        )
    if words is None:
        return [text]
    return [
        text,
        f"Bag of words: tf-idf of {words.words:,} words and word pairs, L2 "
        f"logistic regression, C = {words.C:g} chosen on valid.",
    ]


def _cautions(result: ProbeResult) -> list[str]:
    """Return warnings about the fit; usually there are none."""
    cautions = []
    if not result.nonzero:
        cautions.append(
            "Every L1 weight is zero at the chosen C. The classifier on all units is "
            "therefore constant, and the units are ranked by the absolute difference "
            "of their class means."
        )
    stuck = [f"{p.C:g}" for p in result.sweep if not p.converged]
    if stuck:
        cautions.append(f"The fit did not converge at C = {', '.join(stuck)}.")
    return cautions
