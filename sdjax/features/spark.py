"""What a model says of texts, as columns that Spark's workers add to their rows.

An object of `SparkColumns` goes to the workers as what is to be loaded, a few hundred
bytes; a worker process loads it once, however many tasks it does.
"""

import functools
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from sdjax.data.read_report import ReadReport
from sdjax.data.tables import CHUNK_BYTES
from sdjax.errors import InputError
from sdjax.features.arrow_texts import of_arrow
from sdjax.features.recipe import Opened, Recipe
from sdjax.features.tables import columns_of, encode, rows_at_once

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql.types import StructType


class SparkColumns:
    """An iterator UDF for `mapInArrow` and `mapInPandas`: rows in, rows with columns.

    Batches are gathered up to some thousand rows, whose texts are sorted by length
    before the model reads them; the rows come out in the order that they came in. A row
    without a text, or with one that the model's codec cannot read, has null in the
    columns that are added.

    Args:
        recipe: what the workers load. The driver loads it, too, to know the columns
            and the parameters: a worker that finds others refuses them.
        text: the column of the texts.
        prefix: before the names of the columns that are added.

    Raises:
        InputError: as the recipe.
    """

    def __init__(self, recipe: Recipe, *, text: str = "text", prefix: str = ""):
        self.text, self._recipe, self._prefix = text, recipe, prefix
        opened = recipe.open()
        self._identity = opened.identity
        self.metadata, self.classes = opened.featurizer.metadata(), opened.classes
        empty = opened.added(np.zeros((1, opened.featurizer.width), np.float32))
        self.added = pa.schema(
            [(prefix + name, _array(values).type) for name, values in empty.items()]
        )
        self.rows_at_once = rows_at_once(opened.featurizer)

    def schema(self, rows: "StructType") -> "StructType":
        """Return the schema of what comes out, of rows of another one.

        Raises:
            InputError: they have no column of texts, or a column of a name that is
                added.
        """
        from pyspark.sql.pandas.types import from_arrow_schema
        from pyspark.sql.types import StructType

        self.check_names(rows.names)
        if self.text not in rows.names:
            shown = ", ".join(rows.names[:50]) or "none"
            raise InputError(f"no column {self.text!r} of texts; there are: {shown}")
        return StructType([*rows.fields, *from_arrow_schema(self.added).fields])

    def check_names(self, names: Iterable[str]) -> None:
        """Refuse rows that have a column of a name that is added.

        Raises:
            InputError: names it.
        """
        if twice := next((n for n in self.added.names if n in {*names}), None):
            raise InputError(
                f"the input has a column {twice!r}, which is also the name of one that"
                " is added; give a prefix, which is put before the names of those"
            )

    def __call__(
        self, batches: "Iterator[pa.RecordBatch | pd.DataFrame]"
    ) -> "Iterator[pa.RecordBatch | pd.DataFrame]":
        """Add the columns to the batches of a partition.

        Args:
            batches: as `mapInArrow` or `mapInPandas` gives them.

        Raises:
            InputError: the worker cannot load the model, the column holds no strings,
                or a feature is not finite.
        """
        report, first = ReadReport(), 0
        for group in _gathered(batches, self.text, self.rows_at_once):
            texts = [text for _, texts in group for text in texts]
            columns = self.columns(range(first, first + len(texts)), texts, report)
            start = 0
            for batch, own in group:
                share = {k: v.slice(start, len(own)) for k, v in columns.items()}
                yield _with_columns(batch, share)
                start += len(own)
            first += len(texts)

    def columns(
        self, rows: Sequence[int], texts: Sequence[str | None], report: ReadReport
    ) -> dict[str, pa.Array]:
        """Return the columns for some texts, on a worker.

        Args:
            rows: their numbers, for messages.
            texts: None where a row has none.
            report: counts those that the model's codec cannot read.

        Raises:
            InputError: as the call.
        """
        featurizer, added, identity, _ = _on_this_worker(self._recipe)
        if identity != self._identity:
            raise InputError(
                f"worker {socket.gethostname()}: another model is where that of the"
                " driver is; give both the same"
            )
        columns = {name: [] for name in self.added.names}
        for start in range(0, len(rows), self.rows_at_once):
            some = slice(start, start + self.rows_at_once)
            encoded = encode(rows[some], texts[some], featurizer.normalisation, report)
            for name, values in columns_of(encoded, featurizer, added).items():
                columns[self._prefix + name].append(values)
        return {
            field.name: pa.concat_arrays(
                columns[field.name] or [pa.nulls(0, field.type)]
            )
            for field in self.added
        }


@functools.lru_cache(maxsize=1)
def _on_this_worker(recipe: Recipe) -> Opened:
    """Load what a recipe is of, once in a process."""
    # Each core has a process: their threads would be in each other's way. Spark names
    # the cores of a task so, and XLA those that it may use so.
    if cores := os.environ.get("OMP_NUM_THREADS"):
        os.environ.setdefault("NPROC", cores)
    try:
        return recipe.open()
    except InputError as error:
        raise InputError(
            f"worker {socket.gethostname()}: {error}; a model must be at a path that"
            " all workers see, or be sent to them and named files:NAME, or have a name"
            " that each of them knows"
        ) from error


def _gathered(
    batches: Iterable, text: str, most: int
) -> Iterator[list[tuple[object, list[str | None]]]]:
    """Yield batches with their texts, so many as the model reads at once."""
    group, rows, size = [], 0, 0
    for batch in batches:
        texts = of_arrow(_column(batch, text))
        group.append((batch, texts))
        rows += len(texts)
        size += sum(len(t) for t in texts if t is not None)
        if rows >= most or size >= CHUNK_BYTES:
            yield group
            group, rows, size = [], 0, 0
    if group:
        yield group


def _column(batch, name: str) -> pa.Array:
    if isinstance(batch, pa.RecordBatch):
        return batch.column(name)
    return pa.array(batch[name], from_pandas=True)


def _with_columns(batch, columns: dict[str, pa.Array]):
    if isinstance(batch, pa.RecordBatch):
        names = [*batch.schema.names, *columns]
        arrays = [*batch.columns, *columns.values()]
        return pa.RecordBatch.from_arrays(arrays, names)
    return batch.assign(**{name: v.to_pandas() for name, v in columns.items()})


def _array(values: object) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values)
