"""Examples of any number -> a features file, block by block, in bounded memory."""

from collections.abc import Iterable, Iterator

from tqdm import tqdm

from sdjax.data.read_report import ReadReport
from sdjax.data.sources import Example
from sdjax.data.text import Normalisation
from sdjax.errors import UnreadableText
from sdjax.features.featurizer import TextFeaturizer
from sdjax.features.overlap import Behind, ahead
from sdjax.features.partial import FeatureWork
from sdjax.features.progress import Share
from sdjax.features.strings import hashes

# What a block may hold: enough texts to sort by length, few enough to lose in a crash.
BLOCK_TEXTS = 2**16
BLOCK_BYTES = 2**24
BLOCK_FEATURE_BYTES = 2**27  # of two blocks at once: one computed, one written


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
        blocks = _blocks(readable, most, report)
        with Behind() as behind, ahead(blocks) as ready:
            for block, encoded, position in ready:
                # Reading is quick: the bar follows the texts as they are done.
                advance = Share(bar, position - reached, sum(map(len, encoded)))
                reached = position
                features = featurizer.transform_bytes(encoded, advance)
                hashed = None if work.keeps_texts else hashes(encoded)
                behind(work.append, block, features, hashed)
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
    readable: Iterator[tuple[Example, bytes]], most: int, report: ReadReport
) -> Iterator[tuple[list[Example], list[bytes], int]]:
    """Gather examples and their symbols, never more than a block may hold.

    The last value is how far reading has come then.
    """
    block, encoded, size = [], [], 0
    for example, data in readable:
        block.append(example)
        encoded.append(data)
        size += len(data)
        if len(block) == most or size >= BLOCK_BYTES:
            yield block, encoded, report.position
            block, encoded, size = [], [], 0
    if block:
        yield block, encoded, report.position
