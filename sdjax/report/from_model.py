"""What takes the model as well as the probe: over training, and byte by byte."""

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
    """Return the run's folder of `<run>/checkpoints/<step>`."""
    return checkpoint.parent.parent


def featurizer_like(feature_set: FeatureSet, loaded: Loaded) -> TextFeaturizer:
    """Make a featurizer that treats texts as these features were made."""
    return TextFeaturizer.from_loaded(loaded, **options_of(feature_set.metadata))


def probe_over_training(
    run: Path, train: FeatureSet, test: FeatureSet, strength: float
) -> list[tuple[int, float]]:
    """Probe every saved checkpoint of a run on the same texts.

    Args:
        run: the run's folder.
        train, test: labelled texts with the features of one checkpoint.
        strength: of the L1 penalty, as chosen for that checkpoint.

    Returns:
        (step, accuracy on test), oldest first.
    """
    points = []
    for checkpoint in tqdm(checkpoint_steps(run), "probe checkpoints", unit="step"):
        splits = [train, test]
        if str(checkpoint) != train.metadata.get("checkpoint"):  # else they are known
            featurizer = featurizer_like(train, load_model(checkpoint))
            splits = [
                replace(split, features=featurizer.transform(split.texts))
                for split in splits
            ]
        points.append((int(checkpoint.name), l1_probe.accuracy_at(*splits, strength)))
    return points


def trace_examples(
    featurizer: TextFeaturizer,
    feature_set: FeatureSet,
    rows: Sequence[int],
    unit: int,
    targets: Targets | None = None,
) -> list[TracedText]:
    """Follow one unit through some of the texts.

    Args:
        featurizer: of the checkpoint that the features came from.
        feature_set: the texts.
        rows: which of them.
        unit: index of the unit among the features; of pooled ones the unit of the
            model is followed.
        targets: what their labels are called; None where they have none.
    """
    names = {}
    if targets is not None:
        positions = targets.positions_of(feature_set)
        names = {row: targets.names(positions[row]) for row in rows}
    kind, unit = divmod(unit, featurizer.units)
    named = columns.pooling_kinds(featurizer.pooling)[kind]
    state, _ = columns.state_and_pooling(named, featurizer.state)
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
