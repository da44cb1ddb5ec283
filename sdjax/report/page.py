"""The words of the report: what a probe found, as one page of HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from markupsafe import Markup, escape

from sdjax.features.file import FeatureSet
from sdjax.features.trace import TracedText
from sdjax.probe import overlap
from sdjax.probe.bag_of_words import BagOfWords
from sdjax.probe.l1_probe import ProbeResult
from sdjax.probe.label_efficiency import Efficiency
from sdjax.probe.sweep import SPLITS
from sdjax.report import style, tables
from sdjax.report.coloured_text import MOST, Scale, palette, spans
from sdjax.report.html import render

HOW_TO_READ = {
    "unit_histogram": "The unit's value after the last character of each test text. "
    "The less the two sides overlap, the more the unit alone knows; what lies on the "
    "wrong side of the dashed threshold are its errors.",
    "topk_accuracy": "Solid: classifiers that see only the k strongest units. A curve "
    "that is high at k = 1 and flat from there says that one unit holds nearly all. "
    "Dashed: all units but these k, fitted again; where it stays high, others know it "
    "too. Hollow points: the classifier of all units.",
    "unit_weights": "One line per unit: how far apart it moves the scores of the two "
    "sides, its L1 weight times the difference of its class means. One line that "
    "dwarfs the others is the unit to look at; many of equal length say that the "
    "knowledge is spread over them.",
    "data_efficiency": "Mean test accuracy over the draws; the band reaches from the "
    "worst draw to the best. The strength of the penalty is chosen on valid at each "
    "size. The top unit was found with all labels; its curve says how few it takes to "
    "read it.",
    "training_curve": "The model's loss (lower is better; the first steep moments are "
    "above the frame) and, where checkpoints were kept, how well their features "
    "classify the same test texts.",
    "coloured_texts": "Each character is coloured by the unit's value after reading "
    "it; no colour is the unit's threshold. Point at a character to see the value.",
}


def headline(
    result: ProbeResult,
    bits_per_character: float | None = None,
    words: BagOfWords | None = None,
) -> list[str]:
    """Say what was found in a few plain lines, for the terminal."""
    top, targets = result.top_unit, result.targets
    units = result.classifier.coef.shape[1]
    lines = []
    if bits_per_character is not None:
        lines.append(f"bits per character (valid): {bits_per_character:.3f}")
    lines.append(
        f"accuracy of all {units:,} units (test): {result.accuracy['test']:.1%} "
        f"({result.nonzero:,} with a weight, C = {result.strength:g} chosen on valid)"
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
    """Put the page together; it needs no other file, no network and no script.

    Args:
        result: what the probe found.
        splits: the features that were probed, by `train`, `valid` and `test`.
        figures: SVG by name.
        reasons: why a part is not there, by its name.
        bits_per_character: of the checkpoint on its valid split.
        words: the baseline.
        efficiency: accuracy by number of labels.
        traced: heading and text, in the order in which to show them.
    """
    top = result.top_unit
    sides = tuple(top.quantiles)
    scale = Scale.of(asdict(top))
    return render(
        "report.html",
        title=f"Unit {top.name} and what the model knows",
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
            {"heading": heading, "spans": spans(text, scale, MOST)}
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
    where = splits["test"].metadata.get("checkpoint")
    model = f"Checkpoint {where}, " if where else ""
    texts = ", ".join(f"{len(splits[name]):,} {name}" for name in SPLITS)
    return f"{model}{units:,} units. Labelled texts: {texts}."


def _cards(
    result: ProbeResult, bits_per_character: float | None, words: BagOfWords | None
) -> list[dict]:
    """The numbers that a reader looks for first, all on test."""
    top = result.top_unit
    about = f"about {top.target!r}" if result.targets.task != "binary" else "accuracy"
    cards = [
        ("top unit alone, " + about, f"{top.accuracy['test']:.1%}"),
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
    """What the cards mean, in words that follow from the numbers."""
    top, test = result.top_unit, result.accuracy["test"]
    floor = result.majority["test"]
    low, high = list(top.quantiles)[:: top.sign]
    text = (
        "A language model read text without labels, one character at a time. A linear "
        f"classifier then looked at the state of its "
        f"{result.classifier.coef.shape[1]:,} units after each labelled text and named "
        f"{test:.1%} of the test labels rightly; always naming the commonest label "
        f"is right for {floor:.1%}."
    )
    unit = (
        f"The unit that moves this classifier most is {top.name}: above "
        f"{top.threshold:.3g} it says {high}, below {low}, and this alone is right for "
        f"{top.accuracy['test']:.1%} of the test texts."
    )
    if words is not None:
        unit += (
            " A classifier that counts words and pairs of words, without any model, "
            f"reaches {words.scores['test']['accuracy']:.1%}."
        )
    return [text, unit]


def _unit_words(result: ProbeResult) -> str:
    top = result.top_unit
    smaller, larger = list(top.quantiles)[:: top.sign]
    text = (
        f"Larger values of unit {top.name} mean {larger}, smaller ones {smaller}: "
        f"above {top.threshold:.4g} its own logistic regression says {larger}. Its "
        f"weight there is {top.weight:.4g}, and {top.l1_weight:.4g} in the L1 "
        "classifier of all units."
    )
    if top.l1_weight * top.sign < 0:
        text += (
            " The two signs differ: among the other units it mostly corrects them; "
            "its meaning on its own is the one stated here."
        )
    return text


def _method(result: ProbeResult, words: BagOfWords | None) -> list[str]:
    task, criterion = result.targets.task, result.targets.criterion
    each = "" if task == "binary" else ", each class against all others"
    text = (
        "Features are the raw states after a text's last character. All units: L1 "
        f"logistic regression{each}; valid chose its strength by "
        f"{tables.CRITERIA[criterion]}. k units: logistic regression on those of "
        "largest L1 weight times difference of class means (L2, C = 1, standardised). "
        "Everything is fitted on train; test was only measured."
    )
    if task == "multilabel":
        text += (
            " Accuracy counts texts with every label right. Each label's threshold is "
            "the one of best F1 on valid."
        )
    if words is None:
        return [text]
    return [
        text,
        f"Bag of words: tf-idf of {words.words:,} words and pairs of words, L2 "
        f"logistic regression, C = {words.strength:g} chosen on valid.",
    ]


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
