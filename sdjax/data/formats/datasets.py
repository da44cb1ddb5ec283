"""Datasets by name: `tfds:NAME[:SPLIT]`, and `hf:NAME[:SPLIT]` of Hugging Face."""

import importlib
from collections.abc import Iterator
from typing import Any

from sdjax.data.formats.columnar import decoded
from sdjax.data.formats.layout import Record
from sdjax.data.read_report import ReadReport
from sdjax.errors import InputError

PREFIXES = ("tfds:", "hf:")


def is_dataset(source: str) -> bool:
    """Tell whether a source is a dataset that a library finds by its name."""
    return source.startswith(PREFIXES)


def name_and_split(source: str) -> tuple[str, str]:
    """Return the name of a dataset and its split, "train" by default."""
    name, colon, split = source.partition(":")[2].rpartition(":")
    if not colon:
        name, split = split, ""
    return name, split or "train"


def dataset_records(source: str, report: ReadReport) -> Iterator[Record]:
    """Read a dataset, row by row.

    Raises:
        InputError: at once: the library does not find it.
    """
    data, name = open_dataset(source), "/".join(name_and_split(source))
    report.total, report.unit = len(data), "examples"
    return _rows(name, data, report)


def dataset_class_names(source: str, key: str) -> tuple[str, ...]:
    """Return the names of the classes that the numbers of a key stand for, or ()."""
    data = open_dataset(source)
    features = data.features if source.startswith("hf:") else data.dataset_info.features
    feature = features[key] if key in features else None
    return tuple(map(str, getattr(feature, "names", None) or ()))


def open_dataset(source: str) -> Any:
    """Open a dataset by the library of its prefix; its rows are dictionaries.

    Raises:
        InputError: the library is not installed, or does not find the dataset.
    """
    name, split = name_and_split(source)
    if not name:
        prefix = source.partition(":")[0]
        example = "tfds:imdb_reviews" if prefix == "tfds" else "hf:stanfordnlp/imdb"
        raise InputError(
            f"{prefix}: names no dataset; write {prefix}:NAME, as {example}"
        )
    open_it = _open_hf if source.startswith("hf:") else _open_tfds
    try:
        return open_it(name, split)
    except InputError:
        raise
    except Exception as error:  # they raise their own, urllib's and protobuf's errors
        lines = str(error).strip().splitlines() or [""]
        raise InputError(
            f"{source}: split {split!r} is not available ({type(error).__name__}: "
            f"{lines[0][:200]}); check the name, the split and the network, or give a "
            "file"
        ) from error


def _open_tfds(name: str, split: str) -> Any:
    import tensorflow_datasets as tfds  # slow to import, and rarely needed

    try:
        # A few builders, glue among them, are registered only by importing them.
        importlib.import_module(f"tensorflow_datasets.text.{name.partition('/')[0]}")
    except ImportError:
        pass
    # array_record is the one file format that needs no TensorFlow.
    options = {"file_format": "array_record"}
    return tfds.data_source(name, split=split, builder_kwargs=options)


def _open_hf(name: str, split: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f"hf:{name}: takes one more package: pip install 'sdjax[hf]'"
        ) from error
    return datasets.load_dataset(name, split=split)


def _rows(name: str, data: Any, report: ReadReport) -> Iterator[Record]:
    before = report.position
    for row in range(len(data)):
        report.read += 1
        report.position = before + row + 1
        try:
            values = (
                (key, value.item() if hasattr(value, "item") else value)
                for key, value in data[row].items()
            )
            yield row, row, decoded(values)
        except UnicodeDecodeError:
            report.skip("non-UTF-8 bytes", f"{name}:{row}")
