"""Whole commands against the bare encoder: what reading and writing a table costs."""

import csv
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.interleave import interleave, ratio, spread
from benchmarks.train import untrained
from sdjax.checkpoints import published
from sdjax.checkpoints.load import load_model
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import open_input
from sdjax.data.tables import table_chunks
from sdjax.data.text import Normalisation
from sdjax.features import bulk, tables
from sdjax.features.encoder import Encoder
from sdjax.features.featurizer import TextFeaturizer
from sdjax.features.partial import FeatureWork
from sdjax.features.table_work import TableWork
from sdjax.inference.unit_scoring import UnitScorer

BARE = "bare encoder"


class Row(NamedTuple):
    """One variant; `speed` is its rate over the bare encoder's, quartiles beside it."""

    variant: str
    hidden_size: int
    batch_size: int
    precision: str
    rows: int
    characters: int
    seconds: float
    seconds_quartiles: tuple[float, float]
    rows_per_second: float
    chars_per_second: float
    speed: float | None
    speed_quartiles: tuple[float, float] | None


def measure(
    texts: list[str], hidden_size: int, batch_size: int, precision: str, rounds: int
) -> list[Row]:
    """Read all texts by each variant in turn.

    Equal texts are computed as often as they come, unlike in the commands.

    Args:
        texts: in the order of a table, which is written first.
        hidden_size: of a model with random weights; speed does not depend on them.
        batch_size: texts read at once.
        precision: fp32, bf16 or fp16.
        rounds: timed passes over all texts.
    """
    normalisation = Normalisation()
    encoded = [normalisation.encode(text) for text in texts]
    characters = sum(map(len, encoded))
    with tempfile.TemporaryDirectory(prefix="sdjax-bench-") as folder:
        variants = _variants(
            Path(folder), texts, encoded, hidden_size, batch_size, precision
        )
        seconds = interleave(variants, rounds, warm_up=1)
    rows = []
    for name in variants:
        middle, low, high = spread(seconds[name])
        speed, slower, faster = ratio(seconds[BARE], seconds[name])
        rows.append(
            Row(
                variant=name,
                hidden_size=hidden_size,
                batch_size=batch_size,
                precision=precision,
                rows=len(texts),
                characters=characters,
                seconds=middle,
                seconds_quartiles=(low, high),
                rows_per_second=len(texts) / middle,
                chars_per_second=characters / middle,
                speed=None if name == BARE else speed,
                speed_quartiles=None if name == BARE else (slower, faster),
            )
        )
    return rows


def _variants(
    folder: Path,
    texts: list[str],
    encoded: list[bytes],
    hidden_size: int,
    batch_size: int,
    precision: str,
) -> dict[str, Callable[[], object]]:
    model, params = untrained(hidden_size, precision)
    published.write(model, params, Normalisation(), folder / "model")
    loaded = load_model(folder / "model", precision)
    source = folder / "in.csv"
    with source.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "text", "stars"))
        writer.writerows((f"{n:07d}", text, n % 5) for n, text in enumerate(texts))
    encoder = Encoder(model, params, batch_size=batch_size)
    scorer = UnitScorer(loaded, "0", batch_size=batch_size)
    featurizer = TextFeaturizer.from_loaded(loaded, batch_size=batch_size)

    def classify(output: Path) -> None:
        report, work = ReadReport(), TableWork(output, {}, restart=True)
        most = tables.rows_at_once(scorer.featurizer)
        chunks = table_chunks(open_input(str(source)), report, most=most)
        tables.fill(
            *(chunks, scorer.featurizer, scorer.columns, work, report),
            once=False,
            progress=False,
        )
        work.finish({})

    def featurize() -> None:
        report = ReadReport()
        work = FeatureWork(folder / "f.npz", {}, width=featurizer.width, restart=True)
        examples = open_input(str(source)).examples(report)
        bulk.featurize(featurizer, examples, work, report, progress=False)
        work.finish({})

    return {
        BARE: lambda: encoder.encode(encoded),
        "classify, CSV to CSV": lambda: classify(folder / "out.csv"),
        "classify, CSV to Parquet": lambda: classify(folder / "out.parquet"),
        "featurize, CSV to .npz": featurize,
    }
