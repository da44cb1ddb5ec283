"""A table under way: finished parts in a folder beside it, safe from a crash.

`<output>.parts/` holds a whole file for each chunk of rows, named by its first row and
its digest, and `progress.json`, which says what the table is of, and how many rows and
which parts count. A part counts once `progress.json` says so; at the end all of them
become the table.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm
from xxhash import xxh3_128_hexdigest

from sdjax.data.arrow import as_cells, unified
from sdjax.data.tables import Chunk
from sdjax.errors import Damaged, InputError, naming
from sdjax.features import table_output, unfinished
from sdjax.files import replacing, write_whole
from sdjax.integrity import Verdict, opened, read_object

SUFFIX = ".parts"
_MANY = 100  # parts; of more, progress is shown


class TableWork:
    """The first `rows` rows of a table; more are appended in chunks.

    Args:
        output: the table to be made; its ending says what it is.
        identity: flat, JSON-able: what the table is of; what has another identity
            cannot be resumed here.
        restart: forget what is there already.

    Raises:
        InputError: the folder holds part of something else.
        Damaged: a part that counts is not what was written.
    """

    def __init__(self, output: Path, identity: Mapping, *, restart: bool = False):
        self._output = output
        self._folder = output.with_name(f"{output.name}{SUFFIX}")
        self._lines = output.suffix in table_output.LINES
        self._identity = json.loads(json.dumps(identity))  # as it is read back
        self._done = {"rows": 0, "parts": 0, "last": "", "names": "", "added": []}
        self._done["notes"] = {}
        self._schema = None
        if restart:
            shutil.rmtree(self._folder, ignore_errors=True)
        elif self._folder.exists():
            self._resume()

    @property
    def rows(self) -> int:
        """How many rows are done."""
        return self._done["rows"]

    @property
    def notes(self) -> dict:
        """What was noted with the last chunk, JSON-able."""
        return self._done["notes"]

    def append(
        self, chunk: Chunk, added: Mapping[str, pa.Array], notes: Mapping
    ) -> None:
        """Add a chunk; when this returns a crash cannot lose it.

        Args:
            chunk: the rows as they were read.
            added: a column for each name, behind those of the chunk.
            notes: JSON-able, kept beside it.

        Raises:
            InputError: the rows have a column of that name, or of another kind than the
                rows before.
        """
        if self._lines:
            content = self._as_lines(chunk, added)
        else:
            objects = isinstance(chunk.kept, list)
            if objects and self._output.suffix in table_output.DELIMITERS:
                columns = as_cells(chunk.kept)
            else:
                columns = chunk.columns()
            _check_names(columns, added)
            table = pa.table({**columns, **added})
            if not objects:
                table = table.replace_schema_metadata(chunk.kept.schema.metadata)
            self._schema = unified(self._schema, table, chunk.rows)
            content = as_stream(table)
        digest = xxh3_128_hexdigest(content)
        ending = "jsonl" if self._lines else "arrows"
        name = f"part-{self.rows:012d}-{digest}.{ending}"
        with naming(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / name, content, durable=True)
            done = {
                "rows": self.rows + len(chunk.rows),
                "last": name,
                "parts": self._done["parts"] + 1,
                "names": _chained(self._done["names"], name),
                "added": list(added),
                "notes": dict(notes),
            }
            unfinished.save(self._folder, self._identity, done)
            self._done = done

    def _as_lines(self, chunk: Chunk, added: Mapping[str, pa.Array]) -> bytes:
        if isinstance(chunk.kept, list):
            records = chunk.kept
            for row, record in zip(chunk.rows, records, strict=True):
                if not record.keys().isdisjoint(added):
                    _check_names(record, added, f"row {row}: ")
        else:
            columns = chunk.columns()
            _check_names(columns, added)
            records = table_output.records_of(columns)
        values = {name: table_output.values_of(added[name]) for name in added}
        return table_output.json_lines(records, values)

    def finish(self, metadata: Mapping, keep_formulas: bool = False) -> int:
        """Make the table of all parts, and remove the folder.

        Args:
            metadata: JSON-able, where the table comes from; Parquet keeps it.
            keep_formulas: as for `write_delimited`.

        Returns:
            How many cells of a table of lines got an apostrophe.

        Raises:
            Damaged: a part is not what was written.
            InputError: columns that the ending of the output cannot hold.
        """
        escaped, suffix = 0, self._output.suffix
        with naming(self._output), replacing(self._output, durable=True) as temporary:
            if self._lines:
                with open(temporary, "wb") as file:
                    for content in self._contents():
                        file.write(content)
            else:
                tables = map(of_stream, self._contents())
                try:
                    if suffix == ".parquet":
                        data = json.dumps(metadata).encode()
                        table_output.write_parquet(
                            temporary, self._ordered(), tables, data
                        )
                    else:
                        delimiter = table_output.DELIMITERS[suffix]
                        escaped = table_output.write_delimited(
                            temporary, self._ordered(), tables, delimiter, keep_formulas
                        )
                except pa.ArrowException as error:
                    reason = " ".join(str(error).split())[:200]
                    raise InputError(
                        f"{self._output}: {suffix} cannot hold these columns"
                        f" ({reason}); name an output that ends in .jsonl, which holds"
                        " any"
                    ) from error
        self.discard()
        return escaped

    def _ordered(self) -> pa.Schema:
        """Return the columns of the input, then those that are added."""
        fields, added = list(self._schema), self._done["added"]
        last = [self._schema.field(name) for name in added]
        first = [field for field in fields if field.name not in added]
        return pa.schema([*first, *last], self._schema.metadata)

    def discard(self) -> None:
        """Remove the folder."""
        # Without this file what a kill leaves of the folder is no work under way.
        (self._folder / unfinished.NAME).unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _contents(self) -> Iterator[bytes]:
        """Yield all parts in their order, with a progress bar where there are many."""
        parts = self._done["parts"]
        found = _contents(self._folder, self._done)
        return iter(tqdm(found, "joining", parts, disable=parts < _MANY, unit="part"))

    def _resume(self) -> None:
        """Take over the parts that are there, if they are ours."""
        path = self._folder / unfinished.NAME
        if not path.exists():  # stopped before the first part counted
            shutil.rmtree(self._folder)
            return
        done = _read(path)
        theirs = done.pop("identity")
        unfinished.refuse_others(self._folder, "another table", theirs, self._identity)
        for content in _contents(self._folder, done):
            if not self._lines:
                table = of_stream(content)
                self._schema = unified(self._schema, table, [0])
        for name in _parts(self._folder):
            if name > done["last"]:  # written, and never counted
                (self._folder / name).unlink()
        self._done = done


def verify(folder: Path) -> Verdict:
    """Compare an unfinished table with what was written.

    Args:
        folder: `<output>.parts`.

    Raises:
        InputError: the folder is not of this kind.
    """
    path = folder / unfinished.NAME
    if not path.exists():
        raise InputError(f"{folder}: no unfinished table ({path} is missing)")
    verdict = Verdict()

    def check() -> None:
        for _ in _contents(folder, _read(path)):
            verdict.checked += 1

    verdict.attempt(check)  # progress.json itself is one more that is whole
    return verdict


def _read(path: Path) -> dict:
    try:
        done = opened(read_object(path), path, unfinished.AGAIN)
        return {
            "identity": dict(done["identity"]),
            "rows": int(done["rows"]),
            "parts": int(done["parts"]),
            "last": str(done["last"]),
            "names": str(done["names"]),
            "added": list(done["added"]),
            "notes": dict(done["notes"]),
        }
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise Damaged(f"{path}: damaged ({error}); {unfinished.AGAIN}") from error


def _parts(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.startswith("part-"))


def _contents(folder: Path, done: Mapping) -> Iterator[bytes]:
    """Yield the parts that count.

    Raises:
        Damaged: one is missing, or is not what was written.
    """
    names = [name for name in _parts(folder) if name <= done["last"]]
    if len(names) != done["parts"] or reduce(_chained, names, "") != done["names"]:
        raise Damaged(f"{folder}: damaged, parts are missing; {unfinished.AGAIN}")
    for name in names:
        path = folder / name
        try:
            content = path.read_bytes()
        except OSError as error:
            reason = error.strerror or error
            raise Damaged(
                f"{path}: cannot be read ({reason}); {unfinished.AGAIN}"
            ) from error
        if xxh3_128_hexdigest(content) != path.stem.rpartition("-")[2]:
            raise Damaged(
                f"{path}: damaged, it is not what was written; {unfinished.AGAIN}"
            )
        yield content


def _chained(digest: str, name: str) -> str:
    """Return the digest of all names, of that of those before and the next one."""
    return xxh3_128_hexdigest(f"{digest} {name}".encode())


def as_stream(table: pa.Table) -> bytes:
    """Return a table as Arrow's stream, compressed; of a slice that alone."""
    buffer = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(buffer, table.schema, options=options) as writer:
        writer.write_table(table)
    return buffer.getvalue().to_pybytes()


def of_stream(content: bytes) -> pa.Table:
    """Read what `as_stream` gave."""
    return pa.ipc.open_stream(content).read_all()


def _check_names(columns, added: Mapping, place: str = "") -> None:
    twice = next((name for name in added if name in columns), None)
    if twice is not None:
        raise InputError(
            f"{place}the input has a column {twice!r}, which is also the name of one"
            " that is added; give --prefix, which is put before the names of those"
        )
