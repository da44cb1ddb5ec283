"""What is to be loaded on this machine or another one, and what it is asked."""

import os
from pathlib import Path
from typing import NamedTuple, Protocol

from sdjax.features.featurizer import TextFeaturizer
from sdjax.features.tables import Added
from sdjax.features.unit_columns import all_units, unit_values

_SENT = "files:"  # a place among what Spark's --files and --archives brought


class Opened(NamedTuple):
    """A model that has been loaded, and what it is asked.

    featurizer: makes the features.
    added: makes columns of them.
    identity: what tells the result from that of others, JSON-able.
    classes: what a text may be called; () where it is not called anything.
    """

    featurizer: TextFeaturizer
    added: Added
    identity: dict
    classes: tuple[str, ...] = ()


class Recipe(Protocol):
    """What is to be loaded: small, to be pickled, equal to another one of the same."""

    def open(self) -> Opened: ...


class FeaturizerRecipe(NamedTuple):
    """What `TextFeaturizer` is to load, and of which units; () for all of them."""

    path: str
    state: str
    pooling: tuple[str, ...]
    layers: str
    batch_size: int
    normalise: str | None
    precision: str | None
    units: tuple[str, ...]

    def open(self) -> Opened:
        """Load it; raises as `TextFeaturizer` and `unit_columns`."""
        featurizer = TextFeaturizer.from_pretrained(
            place_of(self.path),
            state=self.state,
            pooling=list(self.pooling),
            layers=self.layers,
            batch_size=self.batch_size,
            normalise=self.normalise,
            precision=self.precision,
        )
        added = unit_values(self.units, featurizer) if self.units else all_units
        return Opened(featurizer, added, featurizer.identity())


def place_of(path: str) -> Path:
    """Return where a model is, on the driver or on a worker.

    Args:
        path: a path or a name; or `files:NAME`, what `--archives model.zip#NAME` of
            Spark brought; or `files:` alone, the files that its `--files` brought.
    """
    if not path.startswith(_SENT):
        return Path(path)
    from pyspark import SparkFiles

    return Path(SparkFiles.get(path.removeprefix(_SENT)))


def seen_from_anywhere(path: str | Path) -> str:
    """Return a path that does not depend on the folder that a process runs in."""
    return str(Path(path).absolute()) if os.path.lexists(path) else str(path)
