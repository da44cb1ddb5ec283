"""Scoring the rows of a Spark data frame with a classifier or one unit.

score = scorer("runs/quickstart", unit="35", text="review")
scored = reviews.mapInArrow(score, score.schema(reviews.schema))
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from sdjax.features.recipe import Opened, place_of, seen_from_anywhere
from sdjax.features.spark import SparkColumns
from sdjax.inference.measured import Measured
from sdjax.inference.unit_scoring import open_scorer, scored_columns


class ScorerRecipe(NamedTuple):
    """What `open_scorer` is to open, and the units that get columns of their own."""

    path: str
    unit: str | None
    threshold: float | None
    checkpoint: str | None
    units: tuple[str, ...]
    precision: str | None
    batch_size: int

    def open(self) -> Opened:
        """Load it; raises as `open_scorer` and `scored_columns`."""
        scorer = open_scorer(
            place_of(self.path),
            unit=self.unit,
            threshold=self.threshold,
            checkpoint=self.checkpoint and place_of(self.checkpoint),
            precision=self.precision,
            batch_size=self.batch_size,
        )
        return Opened(
            scorer.featurizer,
            scored_columns(scorer, self.units),
            scorer.identity,
            scorer.classes,
        )


def scorer(
    checkpoint: str | Path,
    *,
    text: str = "text",
    unit: str | None = None,
    threshold: float | None = None,
    units: Sequence[str] = (),
    prefix: str = "",
    model: str | Path | None = None,
    precision: str | None = None,
    batch_size: int = 64,
) -> SparkColumns:
    """Return an iterator UDF for `mapInArrow` or `mapInPandas` that scores texts.

    A worker process loads the model once. The columns that are added are those of
    `sdjax classify --output`: the probabilities, `called` and the unit.

    Args:
        checkpoint: a classifier's folder, or with `unit` a checkpoint: a path that all
            workers see; `files:NAME` or `files:`, as `place_of` takes it; or a name of
            published weights that all workers have.
        text: the column of the texts: strings or null.
        unit: of the checkpoint, its number in the last layer, or LAYER:NUMBER.
        threshold: of the unit; None for 0.
        units: more units, a column for each.
        prefix: before the names of the columns that are added.
        model: the checkpoint of a classifier, where it is not where that says; a place
            as `checkpoint`.
        precision: compute in this.
        batch_size: texts read at once.

    Raises:
        InputError: it cannot be opened here, or an option does not fit it.
    """
    recipe = ScorerRecipe(
        seen_from_anywhere(checkpoint),
        unit,
        threshold,
        None if model is None else seen_from_anywhere(model),
        tuple(units),
        precision,
        batch_size,
    )
    return SparkColumns(recipe, text=text, prefix=prefix)


def measure(
    called: str,
    measured: Measured,
    labels: Sequence[float | None],
    columns: Mapping[str, pa.Array],
) -> dict:
    """Compare what some texts are called with their labels, on a worker.

    Args:
        called: the column that says it.
        measured: knows the classes; it has counted nothing, and stays so.
        labels: of the texts.
        columns: that were added.

    Returns:
        What `Measured.as_json` gives of these texts.
    """
    of_these = copy.deepcopy(measured)
    of_these.add(columns[called].to_pylist(), labels)
    return of_these.as_json()
