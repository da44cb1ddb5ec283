"""A corpus of four hundred numbered reviews, and helpers to read one."""

from sdjax.data.corpus import SPLITS
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import Example, counted
from sdjax.prepare.pipeline import prepare

EXAMPLES = [Example(f"Review number {i}.", float(i % 2), i) for i in range(400)]


def make(folder, examples=EXAMPLES, **options):
    """Prepare a small corpus: five shards of train, one of valid, two of test."""
    report = ReadReport()
    options = {"source": {"name": "x"}, "shards": (5, 1, 2)} | options
    examples = counted(examples, len(examples), report)
    return prepare(examples, folder, report=report, progress=False, **options)


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def texts(corpus):
    return {split: [e.text for e in corpus.examples(split)] for split in SPLITS}
