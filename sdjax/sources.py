"""Where reviews come from: files and TFDS, one example (text and label) at a time.

How each format is read stands in `sdjax.readers`; what is skipped is counted in a
`ReadReport`.
"""

import hashlib
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sdjax.errors import InputError
from sdjax.readers import FORMATS, Record, file_records, tfds_records
from sdjax.readreport import ReadReport

TEXT_KEYS = (
    "reviewText",
    "text",
    "review",
    "sentence",
    "review_body",
    "review_text",
    "content",
    "body",
)

_MAX_LABEL = 3.4028234e38  # labels are stored as float32
_PEEK = 100  # records looked at to learn which keys a source has


class Example(NamedTuple):
    """One review: text, label where there is one, 0-based row number, id where asked.

    Asked for several labels, `label` is a tuple of them.
    """

    text: str
    label: float | tuple[float, ...] | None
    row: int
    id: str | None = None


def read_examples(
    source: str,
    *,
    report: ReadReport,
    text_key: str | None = None,
    label_key: str | Sequence[str] | None = None,
    id_key: str | None = None,
) -> Iterator[Example]:
    """Read a source of reviews, one example at a time, in constant memory.

    Args:
        source: a path that ends in .jsonl, .json (one object a line), .csv (with a
            header) or .txt (one review a line), each also with .gz; or `tfds:NAME`
            or `tfds:NAME:SPLIT` (split "train" by default).
        report: counts what is read and skipped while the examples are consumed. The
            caller decides with `ReadReport.check` whether too much was skipped.
        text_key: key or column of the text; by default the first of `TEXT_KEYS` that
            the source has.
        label_key: key or column of a numeric label, or a list of them: then a row needs
            all of them. Without it labels are None.
        id_key: key or column of an id, kept as a string. Without it ids are None.

    Raises:
        InputError: at once for a path that cannot be read, at the first example for
            an unknown key, while reading for a damaged archive.
    """
    source = str(source)
    if source.startswith("tfds:"):
        records = tfds_records(source, report)
        kind = "key"
    else:
        path, suffix = _check_path(source)
        records = file_records(path, suffix, report)
        kind = "column" if suffix == ".csv" else "key"
    return _pick(source, kind, records, report, text_key, label_key, id_key)


def counted(
    examples: Iterable[Example], total: int, report: ReadReport
) -> Iterator[Example]:
    """Count examples that come from no file, such as the synthetic corpus."""
    report.total, report.unit = total, "examples"
    for example in examples:
        report.read += 1
        report.position += 1
        yield example


def describe(
    source: str, *, text_key: str | None = None, label_key: str | None = None
) -> dict:
    """Describe a source for a corpus manifest, as a JSON object.

    A file is known by its name, its size and a digest of its two ends, so that a
    corpus prepared from an earlier version of the file is not taken for this one.
    """
    keys = {"text_key": text_key, "label_key": label_key}
    source = str(source)
    if source.startswith("tfds:"):
        return {"name": source, **keys}
    path, _ = _check_path(source)
    size = path.stat().st_size
    with path.open("rb") as file:
        ends = file.read(2**16)
        file.seek(max(0, size - 2**16))
        ends += file.read(2**16)
    digest = hashlib.sha256(ends).hexdigest()
    return {"name": path.name, "bytes": size, "ends_sha256": digest, **keys}


def _check_path(source: str) -> tuple[Path, str]:
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path}: no such file; give a path or tfds:NAME")
    if not path.is_file():
        raise InputError(f"{path}: not a file; give one file of reviews")
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in FORMATS:
        raise InputError(
            f"{path}: unknown format '{suffix}'; use one of {', '.join(FORMATS)}, "
            "each also with .gz"
        )
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: not readable; check its permissions")
    return path, suffix


def _pick(
    source: str,
    kind: str,
    records: Iterator[Record],
    report: ReadReport,
    text_key: str | None,
    label_key: str | Sequence[str] | None,
    id_key: str | None,
) -> Iterator[Example]:
    """Pick text, label and id from every record; count those without."""
    head = list(itertools.islice(records, _PEEK))
    if not head:
        return
    keys = list(dict.fromkeys(key for record in head for key in record.values))
    text_key = _find_key(source, kind, keys, "text", text_key)
    several = label_key is not None and not isinstance(label_key, str)
    label_keys = label_key if several else [label_key] if label_key else []
    for key in label_keys:
        _find_key(source, kind, keys, "label", key)
    if id_key is not None:
        _find_key(source, kind, keys, "id", id_key)
    for row, place, values in itertools.chain(head, records):
        text = values.get(text_key)
        if text is None:
            report.skip(f"row without '{text_key}'", place)
        elif not isinstance(text, str):
            report.skip("text that is not a string", place)
        elif not text.strip():
            report.skip("empty text", place)
        elif id_key is not None and not _is_id(values.get(id_key)):
            report.skip("id missing", place)
        else:
            labels = tuple(_as_label(values.get(key)) for key in label_keys)
            if None in labels:
                report.skip("label missing or not a number", place)
                continue
            label = labels if several else labels[0] if labels else None
            given = None if id_key is None else str(values[id_key])
            yield Example(text, label, row, given)


def _find_key(
    source: str, kind: str, keys: list[str], role: str, wanted: str | None
) -> str:
    exist = ", ".join(str(key)[:40] for key in keys[:50]) or "none"
    if wanted is None:
        found = next((key for key in TEXT_KEYS if key in keys), None)
        if found is None:
            raise InputError(
                f"{source}: no {kind} that is known to hold text; {kind}s that exist: "
                f"{exist}; name one with --{role}-key"
            )
        return found
    if wanted not in keys:
        raise InputError(
            f"{source}: no {role} {kind} '{wanted}'; {kind}s that exist: {exist}"
        )
    return wanted


def _is_id(value: Any) -> bool:
    """Whether a value names a row: a number, or a string that is not blank."""
    if isinstance(value, str):
        return bool(value.strip())
    return isinstance(value, int | float) and not math.isnan(value)


def _as_label(value: Any) -> float | None:
    if not isinstance(value, int | float | str):
        return None
    try:
        label = float(value)
    except (ValueError, OverflowError):
        return None
    return label if math.isfinite(label) and abs(label) <= _MAX_LABEL else None
