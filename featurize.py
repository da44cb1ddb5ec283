"""Write the features of labelled texts: the cell state after each text's last byte.

    python featurize.py --checkpoint runs/quickstart --input texts.csv \\
        --text-key sentence --label-key label --output features/train.npz

The input is any file that `sdjax prepare` reads, or `--split` of a prepared corpus.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from sdjax import errors, featurefile
from sdjax.checkpoint import load_model
from sdjax.corpus import Corpus
from sdjax.errors import InputError
from sdjax.featurefile import FeatureSet
from sdjax.features import TextFeaturizer
from sdjax.readreport import ReadReport
from sdjax.sources import Example, read_examples


def parse_arguments() -> argparse.Namespace:
    parser = errors.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="RUN")
    parser.add_argument(
        "--input", required=True, help="file, tfds:NAME or corpus folder"
    )
    parser.add_argument("--text-key", help="column or key of the text")
    parser.add_argument("--label-key", help="column or key of the label (a number)")
    parser.add_argument("--split", help="of a corpus folder: train, valid or test")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.npz")
    parser.add_argument("--batch-size", type=int, default=64, help="rows at once")
    parser.add_argument("--precision", help="compute in fp32, bf16 or fp16")
    parser.add_argument("--max-bad-fraction", type=float, default=0.01)
    return parser.parse_args()


def read(arguments: argparse.Namespace, report: ReadReport):
    """Return the examples of a file, or of one split of a corpus."""
    if Path(arguments.input).is_dir():
        corpus = Corpus.open(arguments.input)
        if arguments.split not in corpus.shards:
            given = arguments.split or "not given"
            raise InputError(
                f"--split {given}: {arguments.input} is a corpus, which has"
                f" {', '.join(corpus.shards)}"
            )
        return corpus.examples(arguments.split)
    return read_examples(
        arguments.input,
        report=report,
        text_key=arguments.text_key,
        label_key=arguments.label_key,
    )


def labels_of(examples: list[Example]) -> np.ndarray | None:
    """Return float32[N], NaN where there is no label, or None where none has one."""
    if all(e.label is None for e in examples):
        return None
    return np.array([np.nan if e.label is None else e.label for e in examples], "f4")


def main() -> None:
    arguments = parse_arguments()
    if arguments.batch_size < 1:
        raise InputError(f"--batch-size {arguments.batch_size} must be at least 1")
    if arguments.output.suffix != ".npz":
        raise InputError(f"--output {arguments.output} must end in .npz")
    with errors.naming(arguments.output):  # before minutes of work
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
    report = ReadReport()
    loaded = load_model(arguments.checkpoint, arguments.precision)
    examples = list(read(arguments, report))
    if not Path(arguments.input).is_dir():  # a corpus was checked when it was made
        print(report.summary(), file=sys.stderr)
        report.check(arguments.max_bad_fraction)
    featurizer = TextFeaturizer.from_loaded(loaded, batch_size=arguments.batch_size)
    features = featurizer.transform([e.text for e in examples], progress=True)
    metadata = {
        "checkpoint": str(loaded.path),
        "step": loaded.meta["step"],
        "precision": loaded.model.precision,
        "state": "cell",
        "pooling": "last",
        "normalisation": loaded.meta["normalisation"],
        "input": arguments.input,
        "skipped": report.as_json()["skipped"],
    }
    featurefile.save(
        arguments.output,
        FeatureSet(
            features=features,
            labels=labels_of(examples),
            ids=np.array([e.row for e in examples], np.int64),
            texts=[e.text for e in examples],
            metadata=metadata,
        ),
    )
    texts, units = features.shape
    print(f"{arguments.output}: {texts:,} texts x {units:,} units")


if __name__ == "__main__":
    sys.exit(errors.run(main))
