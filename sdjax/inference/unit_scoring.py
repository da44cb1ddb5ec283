"""Scoring texts with one unit of a checkpoint: its value, and its side of a threshold.

No classifier is needed, and no labelled text: somebody has to know the unit.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from sdjax.checkpoints.find import find_checkpoint
from sdjax.checkpoints.load import Loaded, load_model
from sdjax.checkpoints.names import similar
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.features.columns import named_unit
from sdjax.features.featurizer import TextFeaturizer, check_texts
from sdjax.features.tables import Added
from sdjax.features.trace import TracedText
from sdjax.features.unit_columns import unit_values
from sdjax.inference import scoring
from sdjax.inference.scoring import Score, Scorer
from sdjax.model.classifier import DATA, Classifier
from sdjax.portable import checkpoint_shown
from sdjax.ranges import POSITIVE, Range
from sdjax.report.coloured_text import Explained, Scale, unit_page
from sdjax.terminal import printable

SIDES = ("below", "above")
REACH = 1.0  # distance from the threshold at which colours saturate


class UnitScorer:
    """One unit of a checkpoint, used as `Scorer` is.

    Args:
        loaded: the language model.
        unit: its number in the last layer, or LAYER:NUMBER.
        threshold: a text above it is called so.
        reach: distance from the threshold at which the colours saturate.
        batch_size: texts to featurize at once.

    Raises:
        InputError: the model has no such unit, or a number is out of range.
    """

    classes = SIDES

    def __init__(
        self,
        loaded: Loaded,
        unit: str,
        *,
        threshold: float = 0.0,
        reach: float = REACH,
        batch_size: int = 64,
    ):
        for name, value, allowed in (
            ("--reach", reach, POSITIVE),
            ("--threshold", threshold, Range()),
        ):
            if value not in allowed:
                raise InputError(f"{name} is {value:g}: it must be {allowed}")
        model = loaded.model
        layer, number = named_unit(unit, model.num_layers, model.hidden_size, "--unit")
        self.scale = Scale(threshold, reach, +1)
        layers = "all" if ":" in unit else "last"
        before = layer * model.hidden_size if layers == "all" else 0
        self.unit, self._column = unit, before + number
        about = {"checkpoint": str(loaded.path), "checkpoint_name": loaded.name}
        self._checkpoint = checkpoint_shown(about)
        self._featurizer = TextFeaturizer.from_loaded(
            loaded, batch_size=batch_size, layers=layers
        )

    def score(self, texts: Iterable[str], progress: bool = False) -> list[Score]:
        """Score each text; return the scores, without probabilities, in their order.

        Args:
            texts: as `TextFeaturizer.transform` takes them.
            progress: show a progress bar.
        """
        texts = check_texts(texts)
        self._featurizer.progress = progress
        return self.judge(texts, self._featurizer.transform(texts))

    def judge(self, texts: Sequence[str], features: np.ndarray) -> list[Score]:
        """Score texts whose features, float32[N, F], are known."""
        values = features[:, self._column].tolist()
        called = [(SIDES[value > self.scale.threshold],) for value in values]
        return [
            Score(text, {}, side, value)
            for text, side, value in zip(texts, called, values, strict=True)
        ]

    def columns(self, features: np.ndarray) -> dict[str, np.ndarray | pa.Array]:
        """Return what a table gets of features float32[N, F]: the side, the unit."""
        values = features[:, self._column]
        sides = [SIDES[above] for above in (values > self.scale.threshold).tolist()]
        name = self._featurizer.get_feature_names_out()[self._column]
        return {"called": pa.array(sides, pa.string()), str(name): values}

    @property
    def identity(self) -> dict:
        """What tells this unit and its model from others, JSON-able."""
        own = {"unit": self._column, "threshold": self.scale.threshold}
        return {**self._featurizer.identity(), **own}

    @property
    def featurizer(self) -> TextFeaturizer:
        """What makes the features."""
        return self._featurizer

    def table(self, scores: Sequence[Score]) -> str:
        """Return scores as a table: value, side of the threshold, text."""
        head = f"unit {self.unit}"
        lines = [f"{head}  {self._side_head}  text"]
        for score in scores:
            value = f"{score.unit:+.4f}".rjust(len(head))
            side = score.called[0].ljust(len(self._side_head))
            lines.append(f"{value}  {side}  {printable(score.text)}")
        return "\n".join(lines)

    def verdict(self, score: Score) -> str:
        """Return a score in one line, without the text."""
        side = f"{score.called[0]} {self.scale.threshold:g}"
        return f"unit {self.unit} at {score.unit:+.4f}, {side}"

    def page(self, explained: Sequence[Explained]) -> str:
        """Return an HTML page of texts coloured by the unit."""
        return unit_page(self.unit, self.scale, self._checkpoint, SIDES, explained)

    @property
    def _side_head(self) -> str:
        return f"of {self.scale.threshold:g}".ljust(max(map(len, SIDES)))

    @property
    def normalisation(self) -> Normalisation:
        """The normalisation that is applied to each text."""
        return self._featurizer.normalisation

    def trace(self, text: str) -> TracedText:
        """Trace the unit through a text, byte by byte."""
        normalisation = self.normalisation
        return TracedText(
            normalisation.shown(normalisation.encode(text)),
            self._featurizer.trace(text, [self._column])[:, 0],
        )


def is_classifier(path: Path) -> bool:
    """Tell a classifier's folder from a checkpoint, by the classifier's JSON."""
    return (path / DATA).is_file()


def scored_columns(scorer: Scorer | UnitScorer, units: Sequence[str]) -> Added:
    """Return what makes the columns of a scorer and of more units.

    Args:
        scorer: as `open_scorer` gives it.
        units: as `unit_values` takes them, which raises where there is no such unit.
    """
    of_units = unit_values(units, scorer.featurizer)
    return lambda features: {**scorer.columns(features), **of_units(features)}


def open_scorer(
    path: str | Path,
    *,
    unit: str | None = None,
    threshold: float | None = None,
    reach: float | None = None,
    checkpoint: Path | None = None,
    explain: bool = False,
    precision: str | None = None,
    batch_size: int = 64,
) -> Scorer | UnitScorer:
    """Open what scores texts: a classifier's folder, or a checkpoint and a unit.

    Args:
        path: of the classifier, or of anything that `load_model` opens.
        unit: of the checkpoint; as of `UnitScorer`.
        threshold, reach: as of `UnitScorer`; None for 0 and for the usual one.
        checkpoint: of a classifier, where it is not where the classifier says.
        explain: whether texts will be coloured, which not every classifier can.
        precision: compute in this.
        batch_size: texts to featurize at once.

    Raises:
        InputError: it is neither, or an option is of the other one.
    """
    path = Path(path)
    of_unit = {"--unit": unit, "--threshold": threshold, "--reach": reach}
    given = [name for name, value in of_unit.items() if value is not None]
    if is_classifier(path) or unit is None:
        if given:
            what = "is a classifier" if is_classifier(path) else "without --unit"
            raise InputError(
                f"{path} {what}: {', '.join(given)} goes with a checkpoint and its"
                " --unit"
            )
        classifier = _load_classifier(path)
        if explain:
            scoring.top_unit(classifier)
        try:
            loaded = find_checkpoint(classifier.metadata, checkpoint, precision)
        except InputError as error:
            if checkpoint is not None:
                raise
            raise InputError(
                f"{path}: the checkpoint whose features this classifier reads is not"
                f" where it was: {error}; name it with --checkpoint"
            ) from error
        return Scorer(classifier, loaded, batch_size=batch_size)
    if checkpoint is not None:
        raise InputError(
            f"--checkpoint {checkpoint} goes with a classifier; with --unit the first"
            " argument is the checkpoint"
        )
    return UnitScorer(
        load_model(path, precision),
        unit,
        threshold=0.0 if threshold is None else threshold,
        reach=REACH if reach is None else reach,
        batch_size=batch_size,
    )


def _load_classifier(path: Path) -> Classifier:
    if is_classifier(path):
        return Classifier.load(path)
    near = similar(path)
    raise InputError(
        f"{path}: no classifier there ({DATA}); sdjax probe writes one to"
        " <report>/classifier; a checkpoint is scored by one of its units: give --unit"
        + (f"; {near}" if near else "")
    )
