"""A features file under way: finished blocks in a folder beside it, safe from a crash.

`<output>.partial/` holds each column as one growing `.npy` file, and `progress.json`,
which says what the features are of, how many bytes of each file count, and what their
digest is. A block counts once `progress.json` says so. What a crash left after it is
cut off when the work is resumed.
"""

import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from xxhash import xxh3_128

from sdjax.data.sources import Example
from sdjax.errors import Damaged, InputError, naming
from sdjax.features import storage, unfinished
from sdjax.features.strings import HASH_BYTES, hashes, packed
from sdjax.integrity import Verdict, opened, read_object

_CHUNK_TEXTS = 4096  # compared at a time
_HEADER_BYTES = 128  # what NumPy makes of any of our shapes


class FeatureWork:
    """Features of the first `rows` texts of an input; more are appended in blocks.

    Args:
        output: the features file to be made.
        identity: flat, JSON-able: what the features are of; what has another identity
            cannot be resumed here.
        width: features per text.
        label_count: labels per text.
        has_ids: whether the texts have ids of their own.
        keeps_texts: keep the texts; else the hash of each.
        restart: forget what is there already.

    Raises:
        InputError: the folder holds part of something else.
        Damaged: what counts of a file is not what was written.
    """

    def __init__(
        self,
        output: Path,
        identity: dict,
        *,
        width: int,
        label_count: int = 1,
        has_ids: bool = False,
        keeps_texts: bool = True,
        restart: bool = False,
    ):
        self._output = output
        self._folder = output.with_name(f"{output.name}.partial")
        self._identity = json.loads(json.dumps(identity))  # as it is read back
        self._several = label_count > 1
        self._columns = {
            "features": (np.dtype(np.float32), width),
            "ids": (np.dtype(np.int64), 1),
            "labels": (np.dtype(np.float32), label_count),
            "text_bytes": (np.dtype(np.uint8), 1),
            "text_offsets": (np.dtype(np.int64), 1),
        }
        if has_ids:
            self._columns["given_bytes"] = (np.dtype(np.uint8), 1)
            self._columns["given_offsets"] = (np.dtype(np.int64), 1)
        self.keeps_texts = keeps_texts
        if not keeps_texts:
            self._columns["text_hashes"] = (np.dtype(np.uint8), HASH_BYTES)
        self._done = {"rows": 0, "labelled": False, "sizes": {}}
        self._digests = {name: xxh3_128() for name in self._columns}
        if restart:
            shutil.rmtree(self._folder, ignore_errors=True)
        elif self._folder.exists():
            self._resume()

    @property
    def rows(self) -> int:
        """How many texts are done."""
        return self._done["rows"]

    def append(
        self,
        examples: Sequence[Example],
        features: np.ndarray,
        text_hashes: np.ndarray | None = None,
    ) -> None:
        """Add a block; when this returns a crash cannot lose it.

        Args:
            features: float32[len(examples), width].
            text_hashes: uint8[len(examples), 16] of the texts, where they are not kept.

        Raises:
            InputError: a feature is not finite.
        """
        finite = np.isfinite(features).all(axis=1)
        if not finite.all():
            row = examples[int(np.argmin(finite))].row
            raise InputError(
                f"features of row {row} of the input are not finite; "
                "did training of this checkpoint diverge?"
            )
        before = {n: self._length(n) for n in self._columns if n.endswith("_bytes")}
        given = self._given(examples, self.rows, before)
        block = {"features": features, **given}
        if not self.keeps_texts:
            block["text_hashes"] = text_hashes
        labels = block["labels"]
        with naming(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            sizes = {name: self._write(name, values) for name, values in block.items()}
            done = {
                "rows": self.rows + len(examples),
                "labelled": bool(self._done["labelled"] or np.isfinite(labels).any()),
                "sizes": sizes,
                "digests": {n: d.hexdigest() for n, d in self._digests.items()},
            }
            unfinished.save(self._folder, self._identity, done)
            self._done = done

    def _given(
        self, examples: Sequence[Example], rows: int, before: dict[str, int]
    ) -> dict[str, np.ndarray]:
        """Return the columns of some examples that do not come from the model.

        Args:
            rows: how many come before them.
            before: bytes of the strings before them, by column.
        """
        none = (np.nan,) * self._columns["labels"][1]
        labels = [none if e.label is None else e.label for e in examples]
        block = {
            "ids": np.array([e.row for e in examples], np.int64),
            "labels": np.array(labels, np.float32),
        }
        strings = {"text": [e.text if self.keeps_texts else "" for e in examples]}
        if "given_bytes" in self._columns:
            strings["given"] = [e.id for e in examples]
        for kind, values in strings.items():
            data, offsets = packed(values)
            block[f"{kind}_bytes"] = data
            # Without the first one, 0, but in the first block.
            offsets = offsets[1 if rows else 0 :] + before[f"{kind}_bytes"]
            block[f"{kind}_offsets"] = offsets
        return block

    def skip_done(self, examples: Iterator[tuple[Example, bytes]]) -> None:
        """Take the texts that are done from the input, and compare them with it.

        Args:
            examples: all of them, with the symbols that the model reads.

        Raises:
            InputError: they are not what stood there when they were read.
        """
        found = {n: xxh3_128() for n in self._columns if n != "features"}
        rows, before = 0, {n: 0 for n in self._columns if n.endswith("_bytes")}
        while chunk := list(islice(examples, min(_CHUNK_TEXTS, self.rows - rows))):
            columns = self._given([example for example, _ in chunk], rows, before)
            if not self.keeps_texts:
                columns["text_hashes"] = hashes([data for _, data in chunk])
            for name, values in columns.items():
                found[name].update(np.ascontiguousarray(values))
                if name in before:
                    before[name] += len(values)
            rows += len(chunk)
        differ = [
            name
            for name, digest in found.items()
            if digest.digest() != self._digests[name].digest()
        ]
        if rows < self.rows or differ:
            raise InputError(
                f"{self._folder} has the features of {self.rows:,} texts that are not"
                " in the input any more as they were: the input has changed since;"
                f" {unfinished.AGAIN}"
            )

    def finish(self, metadata: dict) -> None:
        """Make the features file of all blocks, and remove the folder."""
        names = set(self._columns) - (set() if self._done["labelled"] else {"labels"})
        with naming(self._output):
            self._check(self._done)
            for name, (dtype, width) in self._columns.items():
                shape = (self._length(name) // width,)
                if name in ("features", "text_hashes") or (
                    name == "labels" and self._several
                ):
                    shape += (width,)
                with open(self._file(name), "r+b") as file:
                    file.truncate(self._done["sizes"][name])
                    file.write(_header(dtype, shape))
            storage.install(self._folder, names, self._output, metadata)
            shutil.rmtree(self._folder)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.npy"

    def _length(self, name: str) -> int:
        """How many values of a column count."""
        size = self._done["sizes"].get(name, _HEADER_BYTES)
        return (size - _HEADER_BYTES) // self._columns[name][0].itemsize

    def _write(self, name: str, values: np.ndarray) -> int:
        """Append to a column; return how long its file is then."""
        size = self._done["sizes"].get(name, 0)
        with open(self._file(name), "r+b" if size else "wb") as file:
            file.truncate(size or _HEADER_BYTES)
            file.seek(0, os.SEEK_END)
            file.write(np.ascontiguousarray(values))
            self._digests[name].update(np.ascontiguousarray(values))
            file.flush()
            os.fsync(file.fileno())
            return file.tell()

    def _resume(self) -> None:
        """Take over the blocks that are there, if they are ours."""
        path = self._folder / unfinished.NAME
        if not path.exists():  # stopped before the first block counted
            return
        try:
            done = opened(read_object(path), path, unfinished.AGAIN)
            theirs = done.pop("identity")
            damaged = [
                name
                for name in self._columns
                if theirs == self._identity
                and self._file(name).stat().st_size < done["sizes"][name]
            ]
        except (ValueError, KeyError, TypeError, OSError) as error:
            damaged, theirs = [str(error)], self._identity
        if damaged:
            raise Damaged(
                f"{self._folder}: damaged ({', '.join(damaged)}); {unfinished.AGAIN}"
            )
        unfinished.refuse_others(self._folder, "other features", theirs, self._identity)
        self._check(done)
        self._done = done

    def _check(self, done: dict) -> None:
        """Compare what counts of each file with its digest; take up these digests.

        Raises:
            Damaged: it is not what was written.
        """
        wanted = done.get("digests")  # None in work that an older version left
        for name in self._columns if done["sizes"] else ():
            digest = _digest(self._file(name), done["sizes"][name])
            if wanted and digest.hexdigest() != wanted[name]:
                raise _differs(self._file(name))
            self._digests[name] = digest


def verify(folder: Path) -> Verdict:
    """Compare unfinished features with what was written.

    Args:
        folder: `<output>.partial`.

    Raises:
        InputError: the folder is not of this kind.
    """
    path = folder / unfinished.NAME
    if not path.exists():
        raise InputError(f"{folder}: no unfinished features ({path} is missing)")
    try:
        done = opened(read_object(path), path, unfinished.AGAIN)
        sizes = dict(done["sizes"])
    except Damaged as error:
        return Verdict(problems=[str(error)])
    except (ValueError, KeyError, TypeError, OSError) as error:
        return Verdict(problems=[f"{path}: damaged ({error}); {unfinished.AGAIN}"])
    if "digests" not in done:
        return Verdict(without=[f"unfinished features {folder}"])
    verdict = Verdict(checked=1)
    for name, size in sizes.items():
        path, wanted = folder / f"{name}.npy", done["digests"][name]

        def check(path=path, size=size, wanted=wanted) -> None:
            if _digest(path, size).hexdigest() != wanted:
                raise _differs(path)

        verdict.attempt(check)
    return verdict


def _digest(path: Path, size: int) -> xxh3_128:
    """Digest a column's file up to a size, without the room for its header."""
    digest, left = xxh3_128(), size - _HEADER_BYTES
    try:
        with open(path, "rb") as file:
            file.seek(_HEADER_BYTES)
            while left > 0 and (chunk := file.read(min(left, 2**22))):
                digest.update(chunk)
                left -= len(chunk)
    except OSError as error:
        reason = error.strerror or error
        raise Damaged(
            f"{path}: cannot be read ({reason}); {unfinished.AGAIN}"
        ) from error
    if left > 0:
        raise Damaged(f"{path}: damaged, it is cut short; {unfinished.AGAIN}")
    return digest


def _differs(path: Path) -> Damaged:
    return Damaged(f"{path}: damaged, it is not what was written; {unfinished.AGAIN}")


def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """The start of a `.npy` file, always as long, so that it can be written last."""
    described = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, described)
    header = buffer.getvalue()
    if len(header) != _HEADER_BYTES:
        raise RuntimeError(f"NumPy's header of {shape} has {len(header)} bytes")
    return header
