"""A table in, a table out: read, given to the model and written all at once.

A thread reads and cleans the next chunk while the model has one, and another writes the
one before, so memory is bounded by a few chunks however long the table is.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from sdjax.data.read_report import ReadReport
from sdjax.data.tables import CHUNK_ROWS, Chunk
from sdjax.data.text import Normalisation
from sdjax.errors import InputError, UnreadableText
from sdjax.features.featurizer import TextFeaturizer
from sdjax.features.overlap import Behind, ahead
from sdjax.features.progress import Share
from sdjax.features.table_work import TableWork

_FEATURE_BYTES = 2**26  # of a chunk

# Features float32[N, width] -> what is added to the rows, N values by name.
Added = Callable[[np.ndarray], Mapping[str, np.ndarray | Sequence | pa.Array]]


class Encoded(NamedTuple):
    """The texts of some rows as the model reads them.

    rows: their numbers.
    texts: each different text once.
    places: int[N], which of them each row has; -1 for none.
    """

    rows: Sequence[int]
    texts: list[bytes]
    places: np.ndarray

    @property
    def characters(self) -> int:
        """How many bytes the rows have, equal texts counted as often as they are."""
        lengths = np.fromiter(map(len, self.texts), np.int64, len(self.texts))
        return int(lengths[self.places[self.places >= 0]].sum())


def rows_at_once(featurizer: TextFeaturizer) -> int:
    """Return how many rows a chunk may have, for the room that their features take."""
    return max(1, min(CHUNK_ROWS, _FEATURE_BYTES // (4 * featurizer.width)))


def fill(
    chunks: Iterable[Chunk],
    featurizer: TextFeaturizer,
    added: Added,
    work: TableWork,
    report: ReadReport,
    *,
    note: Callable[[Chunk, Mapping[str, pa.Array]], Mapping] = lambda *_: {},
    once: bool = True,
    progress: bool = True,
) -> None:
    """Append all chunks to a table, each with what the model says of its texts.

    Args:
        chunks: of the rows that are not done yet; read on a thread.
        featurizer: makes the features.
        added: makes columns of them; a row without a text gets null in each.
        work: where finished chunks are kept.
        report: of what is read; counts texts that the model's codec cannot read.
        note: called with every chunk and its columns; what it gives is kept with them.
        once: compute equal texts of a chunk once.
        progress: show a progress bar on standard error.

    Raises:
        InputError: a feature is not finite, or as `TableWork.append`.
    """
    normalisation = featurizer.normalisation
    cleaned = (
        (chunk, encode(chunk.rows, chunk.texts, normalisation, report, once))
        for chunk in chunks
    )
    bar = tqdm(
        total=report.total or None,
        unit=report.unit,
        unit_scale=True,
        disable=not progress,
        delay=0.5,
    )
    speed = _Speed(bar)
    with bar, Behind() as behind, ahead(cleaned) as ready:
        for chunk, encoded in ready:
            if bar.total is None and report.total:
                bar.total, bar.unit = report.total, report.unit
            if work.rows and not speed.begun:  # what was done before takes no time
                bar.n = bar.initial = chunk.position
            size = sum(map(len, encoded.texts))
            advance = Share(bar, chunk.position - bar.n, size)
            columns = columns_of(encoded, featurizer, added, advance)
            notes = note(chunk, columns)
            behind(work.append, chunk, columns, notes)
            bar.update(chunk.position - bar.n)
            speed.add(len(chunk.rows), encoded.characters)


def encode(
    rows: Sequence[int],
    texts: Iterable[str | None],
    normalisation: Normalisation,
    report: ReadReport,
    once: bool = True,
) -> Encoded:
    """Turn texts into what the model reads; count those that the codec cannot read.

    Args:
        rows: the number of each text, for messages.
        texts: None where a row has none.
        normalisation: of the model.
        report: counts what cannot be read.
        once: keep equal texts once.
    """
    places, encoded, known = [], [], {}
    for row, text in zip(rows, texts, strict=True):
        place = -1
        if text is not None:
            try:
                data = normalisation.encode(text)
            except UnreadableText as error:
                report.skip(error.reason, f"row {row}", detail=str(error))
            else:
                place = known.setdefault(data, len(encoded)) if once else len(encoded)
                if place == len(encoded):
                    encoded.append(data)
        places.append(place)
    return Encoded(rows, encoded, np.array(places, np.int64))


def columns_of(
    encoded: Encoded,
    featurizer: TextFeaturizer,
    added: Added,
    advance: Callable[[int], object] | None = None,
) -> dict[str, pa.Array]:
    """Return what the model says of some rows, by the name of the column.

    Args:
        encoded: their texts.
        featurizer: makes the features.
        added: makes columns of them; a row without a text gets null in each.
        advance: called after every batch with the number of bytes read.

    Raises:
        InputError: a feature is not finite.
    """
    features = featurizer.transform_bytes(encoded.texts, advance)
    _check_finite(features, encoded.places, encoded.rows)
    return _columns(added(features), encoded.places)


def _check_finite(features: np.ndarray, places: np.ndarray, rows) -> None:
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        row = rows[int(np.flatnonzero(places == int(np.argmin(finite)))[0])]
        raise InputError(
            f"features of row {row} of the input are not finite; "
            "did training of this checkpoint diverge?"
        )


def _columns(added: Mapping, places: np.ndarray) -> dict[str, pa.Array]:
    """Give every row what its text got, null to one without a text."""
    where = pa.array(places, mask=places < 0)
    return {
        name: (v if isinstance(v, pa.Array) else pa.array(v)).take(where)
        for name, v in added.items()
    }


class _Speed:
    """Rows and characters a second, behind a progress bar."""

    def __init__(self, bar: tqdm):
        self._bar, self._start = bar, time.monotonic()
        self._rows = self._characters = 0

    @property
    def begun(self) -> bool:
        """Whether anything was added."""
        return self._rows > 0

    def add(self, rows: int, characters: int) -> None:
        self._rows += rows
        self._characters += characters
        seconds = max(time.monotonic() - self._start, 1e-9)
        self._bar.set_postfix_str(
            f"{self._rows / seconds:,.0f} rows/s,"
            f" {self._characters / seconds:,.0f} ch/s",
            refresh=False,
        )
