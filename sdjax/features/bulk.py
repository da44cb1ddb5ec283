"""Examples of any number -> a features file, block by block, in bounded memory."""

from collections.abc import Iterable, Iterator

from tqdm import tqdm

from sdjax.data.read_report import ReadReport
from sdjax.data.sources import Example
from sdjax.data.text import Normalisation
from sdjax.errors import UnreadableText
from sdjax.features.featurizer import TextFeaturizer
from sdjax.features.partial import FeatureWork
from sdjax.features.strings import hashes

# What a block may hold: enough texts to sort by length, few enough to lose in a crash.
BLOCK_TEXTS = 2**16
BLOCK_BYTES = 2**24
BLOCK_FEATURE_BYTES = 2**28


def featurize(
    featurizer: TextFeaturizer,
    examples: Iterable[Example],
    work: FeatureWork,
    report: ReadReport,
    progress: bool = True,
) -> None:
    """Append the features of all examples that are not done yet, in their order.

    Args:
        featurizer: what `work` was begun with.
        examples: all of the input, from the start; `report` counts them.
        work: where finished blocks are kept.
        report: says how far reading has come.
        progress: show a progress bar on standard error.
    """
    readable = _readable(examples, featurizer.normalisation, report)
    work.skip_done(readable)
    bar = tqdm(
        desc="featurize",
        initial=report.position,
        total=report.total or None,
        unit=report.unit,
        unit_scale=True,
        disable=not progress,
    )
    with bar:
        reached = report.position
        most = max(1, min(BLOCK_TEXTS, BLOCK_FEATURE_BYTES // (4 * featurizer.width)))
        for block, encoded in _blocks(readable, most):
            # Reading is quick: the bar follows the texts of the block as they are done.
            advance = _Share(bar, report.position - reached, sum(map(len, encoded)))
            reached = report.position
            features = featurizer.transform_bytes(encoded, advance)
            if work.keeps_texts:
                work.append(block, features)
            else:
                work.append(block, features, hashes(encoded))
        bar.update(report.position - bar.n)


def _readable(
    examples: Iterable[Example], normalisation: Normalisation, report: ReadReport
) -> Iterator[tuple[Example, bytes]]:
    """Yield examples with their symbols; count those that the codec cannot read."""
    for example in examples:
        try:
            data = normalisation.encode(example.text)
        except UnreadableText as error:
            report.skip(error.reason, f"row {example.row}", detail=str(error))
            continue
        yield example, data


def _blocks(
    readable: Iterator[tuple[Example, bytes]], most: int
) -> Iterator[tuple[list[Example], list[bytes]]]:
    """Gather examples and their symbols, never more than a block may hold."""
    block, encoded, size = [], [], 0
    for example, data in readable:
        block.append(example)
        encoded.append(data)
        size += len(data)
        if len(block) == most or size >= BLOCK_BYTES:
            yield block, encoded
            block, encoded, size = [], [], 0
    if block:
        yield block, encoded


class _Share:
    """Move a bar by `length` in all, as `total` bytes of text are read."""

    def __init__(self, bar: tqdm, length: int, total: int):
        self._bar, self._start = bar, bar.n
        self._length, self._total, self._read = length, total, 0

    def __call__(self, count: int) -> None:
        self._read += count
        there = self._start + self._length * self._read // self._total
        self._bar.update(there - self._bar.n)
