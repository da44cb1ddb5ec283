"""The parts of the report that need the model: probing over training, and traces."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sklearn import clone
from tqdm import tqdm

from sdjax.checkpoints.load import Loaded, checkpoint_steps, load_model
from sdjax.features import columns
from sdjax.features.featurizer import TextFeaturizer, options_of
from sdjax.features.file import FeatureSet
from sdjax.features.trace import TracedText
from sdjax.probe import l1_probe
from sdjax.probe.targets import Targets


def run_of(checkpoint: Path) -> Path:
    """Return the run folder of a checkpoint `<run>/checkpoints/<step>`."""
    return checkpoint.parent.parent


def featurizer_like(feature_set: FeatureSet, loaded: Loaded) -> TextFeaturizer:
    """Return a featurizer with the options that these features were made with."""
    return TextFeaturizer.from_loaded(loaded, **options_of(feature_set.metadata))


def probe_over_training(
    run: Path, train: FeatureSet, test: FeatureSet, C: float
) -> list[tuple[int, float]]:
    """Probe every saved checkpoint of a run on the same texts.

    Args:
        run: the run folder.
        train, test: labelled texts with the features of one checkpoint.
        C: inverse of the L1 penalty, as chosen for that checkpoint.

    Returns:
        (step, accuracy on test), oldest first.
    """
    points = []
    for checkpoint in tqdm(checkpoint_steps(run), "probe checkpoints", unit="step"):
        splits = [train, test]
        # The features of their own checkpoint need not be computed again.
        own = train.metadata.get("checkpoint")
        if own is None or os.path.realpath(checkpoint) != os.path.realpath(own):
            featurizer = featurizer_like(train, load_model(checkpoint))
            splits = [
                replace(split, features=featurizer.transform(split.texts))
                for split in splits
            ]
        points.append((int(checkpoint.name), l1_probe.accuracy_at(*splits, C)))
    return points


def trace_examples(
    featurizer: TextFeaturizer,
    feature_set: FeatureSet,
    rows: Sequence[int],
    unit: int,
    targets: Targets | None = None,
) -> list[TracedText]:
    """Trace one unit through some texts, byte by byte.

    Args:
        featurizer: of the checkpoint that the features came from.
        feature_set: the texts.
        rows: the texts to trace.
        unit: index among the features; for a pooled feature the underlying unit of the
            model is traced.
        targets: names the labels; None if the texts have no labels.
    """
    names = {}
    if targets is not None:
        positions = targets.positions_of(feature_set)
        names = {row: targets.names(positions[row]) for row in rows}
    block, unit = divmod(unit, featurizer.units)
    kind = columns.pooling_kinds(featurizer.pooling)[block]
    state, _ = columns.state_and_pooling(kind, featurizer.state)
    if state != featurizer.state:
        featurizer = clone(featurizer).set_params(state=state)
    normalisation = featurizer.normalisation
    return [
        TracedText(
            normalisation.shown(normalisation.encode(feature_set.texts[row])),
            featurizer.trace(feature_set.texts[row], [unit])[:, 0],
            names.get(row),
        )
        for row in rows
    ]
