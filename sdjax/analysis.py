"""What takes the model as well as the probe: over training, and byte by byte."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from sdjax import probe
from sdjax.checkpoint import checkpoint_steps
from sdjax.coloured_text import TracedText
from sdjax.featurefile import FeatureSet
from sdjax.features import TextFeaturizer
from sdjax.targets import Targets, squeezed


def run_of(checkpoint: Path) -> Path:
    """Return the run's folder of `<run>/checkpoints/<step>`."""
    return checkpoint.parent.parent


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
            featurizer = TextFeaturizer.from_pretrained(checkpoint)
            splits = [
                replace(split, features=featurizer.transform(split.texts))
                for split in splits
            ]
        points.append((int(checkpoint.name), probe.accuracy_at(*splits, strength)))
    return points


def trace_examples(
    featurizer: TextFeaturizer,
    feature_set: FeatureSet,
    rows: Sequence[int],
    unit: int,
    targets: Targets,
) -> list[TracedText]:
    """Follow one unit through some of the texts.

    Args:
        featurizer: of the checkpoint that the features came from.
        feature_set: the texts.
        rows: which of them.
        unit: index of the unit.
        targets: what their labels are called.
    """
    positions = targets.positions(squeezed(feature_set))
    return [
        TracedText(
            featurizer.normalisation.encode(feature_set.texts[row]).decode(),
            featurizer.trace(feature_set.texts[row], [unit])[:, 0],
            targets.names(positions[row]),
        )
        for row in rows
    ]
