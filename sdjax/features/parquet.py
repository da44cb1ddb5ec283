"""Features files in Parquet: one row per text, the features a list of fixed size.

Columns: id (row in the input), given_id where one was asked for, text (and text_hash
where the texts are not kept), label (or label_<key> for each of several) and features;
the metadata is that of the file.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sdjax.features.strings import HASH_BYTES, Strings, packed
from sdjax.integrity import chunks_digest

# In one row group.
_GROUP_ROWS = 2**16
_GROUP_BYTES = 2**26  # of features, and of texts
_BATCH = 4096  # rows read at once


def write(folder: Path, path: Path, names: list[str], metadata: bytes) -> None:
    """Write the columns that lie in a folder as `<column>.npy`, in bounded memory.

    Args:
        names: the columns.
        metadata: JSON.
    """
    writer = None
    keys = json.loads(metadata).get("label_keys")
    try:
        for group in _row_groups(folder, names):
            table = _table(group, keys)
            table = table.replace_schema_metadata({"sdjax": metadata})
            if writer is None:
                # Dictionaries and statistics of features would only cost time and room.
                writer = pq.ParquetWriter(
                    path, table.schema, use_dictionary=False, write_statistics=["id"]
                )
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def text_digest(folder: Path, kind: str) -> str:
    """Return the digest of the bytes of all texts, or given ids, as `read` gives them.

    Args:
        kind: "text" or "given".
    """
    data = np.load(folder / f"{kind}_bytes.npy", mmap_mode="r", allow_pickle=False)
    names = {"text_bytes", f"{kind}_bytes"}
    groups = _row_groups(folder, sorted(names))
    chunks = (packed(_valid(group[kind]))[0] for group in groups)
    return chunks_digest(data.dtype, data.shape, chunks)


def read(path: Path) -> tuple[dict[str, np.ndarray], bytes | None]:
    """Return the columns as they were before `write`, and the metadata.

    Raises:
        ValueError: it cannot be read as Parquet.
    """
    try:
        with pq.ParquetFile(path) as file:
            metadata = (file.schema_arrow.metadata or {}).get(b"sdjax")
            return ({} if metadata is None else _columns(file)), metadata
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error).splitlines()[0]) from error


def _row_groups(folder: Path, names: list[str]) -> Iterator[dict]:
    """Yield the columns some rows at a time; each mapped anew, so memory is bounded."""

    def column(name: str) -> np.ndarray:
        return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    count, width = column("features").shape
    most, start = min(_GROUP_ROWS, max(1, _GROUP_BYTES // (4 * width))), 0
    while start < count or start == 0:
        offsets = column("text_offsets")[start : start + most + 1]
        full = np.searchsorted(offsets, offsets[0] + _GROUP_BYTES, side="right") - 1
        end = start + max(1, int(full))
        group = {}
        for kind in ("text", "given"):
            if f"{kind}_bytes" in names:
                offsets = column(f"{kind}_offsets")[start : end + 1]
                group[kind] = Strings(column(f"{kind}_bytes"), offsets)[:]
        for name in set(names) & {"features", "ids", "labels", "text_hashes"}:
            group[name] = np.array(column(name)[start:end])
        yield group
        start = end


def _table(group: dict, label_keys: list[str] | None):
    features, labels = group["features"], group.get("labels")
    columns = {"id": group["ids"]}
    if "given" in group:
        columns["given_id"] = pa.array(_valid(group["given"]), pa.string())
    columns["text"] = pa.array(_valid(group["text"]), pa.string())
    if "text_hashes" in group:
        kind, rows = pa.binary(HASH_BYTES), group["text_hashes"]
        columns["text_hash"] = pa.array([row.tobytes() for row in rows], kind)
    if labels is not None and labels.ndim == 1:
        columns["label"] = labels
    elif labels is not None:
        for i, key in enumerate(label_keys or range(labels.shape[1])):
            columns[f"label_{key}"] = np.ascontiguousarray(labels[:, i])
    columns["features"] = pa.FixedSizeListArray.from_arrays(
        pa.array(features.ravel()), features.shape[1]
    )
    return pa.table(columns)


def _valid(texts: list[str]) -> list[str]:
    """Half a surrogate pair, which a Parquet string cannot hold, becomes U+FFFD."""
    return [
        text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        for text in texts
    ]


def _columns(file) -> dict[str, np.ndarray]:
    schema = file.schema_arrow
    count, width = file.metadata.num_rows, schema.field("features").type.list_size
    features, start = np.empty((count, width), np.float32), 0
    for batch in file.iter_batches(columns=["features"], batch_size=_BATCH):
        flat = batch.column(0).flatten().to_numpy(zero_copy_only=False)
        features[start : start + len(batch)] = flat.reshape(len(batch), width)
        start += len(batch)
    names = [name for name in schema.names if name != "features"]
    table = file.read(columns=names)
    columns = {"features": features, "ids": table["id"].to_numpy()}
    for name, kind in (("text", "text"), ("given_id", "given")):
        if name in names:
            data, offsets = packed(table[name].to_pylist())
            columns[f"{kind}_bytes"], columns[f"{kind}_offsets"] = data, offsets
    if "text_hash" in names:
        joined = b"".join(table["text_hash"].to_pylist())
        columns["text_hashes"] = np.frombuffer(joined, np.uint8).reshape(-1, HASH_BYTES)
    labels = [name for name in names if name.startswith("label")]
    if labels:
        values = [table[name].to_numpy().astype(np.float32) for name in labels]
        columns["labels"] = values[0] if labels == ["label"] else np.stack(values, 1)
    return columns
