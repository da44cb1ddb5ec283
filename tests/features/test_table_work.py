"""A table under way: parts that count, those that do not, and damage."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sdjax import files
from sdjax.data.tables import Chunk
from sdjax.errors import Damaged, InputError
from sdjax.features import table_work, unfinished
from sdjax.features.table_work import TableWork

IDENTITY = {"params": "p", "units": None}
ENDINGS = pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])


def chunk(first: int, count: int = 3, **more) -> Chunk:
    rows = range(first, first + count)
    kept = [{"id": f"{row:03d}", **more} for row in rows]
    return Chunk(rows, ["x"] * count, [None] * count, kept)


def added(piece: Chunk) -> dict:
    return {"value": pa.array([row / 2 for row in piece.rows], pa.float32())}


def append(work: TableWork, *pieces: Chunk) -> None:
    for piece in pieces:
        work.append(piece, added(piece), {"rows": work.rows + len(piece.rows)})


def ids(path) -> list[str]:
    if path.suffix == ".parquet":
        return pq.read_table(path)["id"].to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line)["id"] for line in path.read_text().splitlines()]
    with open(path, newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]


def whole(path) -> bool:
    return ids(path) == [f"{row:03d}" for row in range(9)]


@ENDINGS
def test_parts_become_the_table_and_leave_nothing(tmp_path, ending):
    path = tmp_path / f"out{ending}"
    work = TableWork(path, IDENTITY)
    append(work, chunk(0), chunk(3), chunk(6))
    assert not path.exists()
    work.finish({})
    assert whole(path) and list(tmp_path.iterdir()) == [path]


@ENDINGS
@pytest.mark.parametrize("stage", ["part", "progress"])
def test_whatever_a_kill_leaves_no_row_comes_twice(
    tmp_path, ending, stage, monkeypatch
):
    """Killed before, or right after, the second part lies there."""
    path = tmp_path / f"out{ending}"
    work = TableWork(path, IDENTITY)
    append(work, chunk(0))
    with monkeypatch.context() as patch:

        def stop(place, content, **options):
            if stage == "progress" and place.name.startswith("part-"):
                return files.write_whole(place, content, **options)
            raise KeyboardInterrupt

        patch.setattr(table_work, "write_whole", stop)
        patch.setattr(unfinished, "write_whole", stop)
        with pytest.raises(KeyboardInterrupt):
            append(work, chunk(3))
    parts = len(list((tmp_path / f"out{ending}.parts").glob("part-*")))
    assert parts == (2 if stage == "progress" else 1)
    work = TableWork(path, IDENTITY)
    assert work.rows == 3 and work.notes == {"rows": 3}
    # Other chunks than the first time, as with another batch size.
    append(work, chunk(3, 2), chunk(5, 4))
    work.finish({})
    assert whole(path) and list(tmp_path.iterdir()) == [path]


@ENDINGS
def test_a_kill_while_the_parts_are_joined(tmp_path, ending, monkeypatch):
    path = tmp_path / f"out{ending}"
    append(TableWork(path, IDENTITY), chunk(0), chunk(3), chunk(6))
    with monkeypatch.context() as patch:
        patch.setattr(table_work, "replacing", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            TableWork(path, IDENTITY).finish({})
    work = TableWork(path, IDENTITY)
    assert work.rows == 9 and not path.exists()
    work.finish({})
    assert whole(path)
    # Removing the folder may be cut short, too: what is left is no work under way.
    append(TableWork(path, IDENTITY), chunk(0))
    (tmp_path / f"out{ending}.parts" / "progress.json").unlink()
    assert TableWork(path, IDENTITY).rows == 0


def test_another_identity_and_a_new_beginning(tmp_path):
    path = tmp_path / "out.csv"
    append(TableWork(path, IDENTITY), chunk(0))
    with pytest.raises(InputError, match="units is None there and .*--restart"):
        TableWork(path, IDENTITY | {"units": ["3"]})
    assert TableWork(path, IDENTITY, restart=True).rows == 0


@pytest.mark.parametrize("damage", ["flipped", "short", "missing", "progress"])
def test_damage_is_named(tmp_path, damage):
    path = tmp_path / "out.csv"
    append(TableWork(path, IDENTITY), chunk(0), chunk(3))
    folder = tmp_path / "out.csv.parts"
    assert table_work.verify(folder).checked == 3
    part = sorted(folder.glob("part-*"))[0]
    content = part.read_bytes()
    if damage == "flipped":
        part.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    elif damage == "short":
        part.write_bytes(content[:-1])
    elif damage == "missing":
        part.unlink()
    else:
        progress = json.loads((folder / "progress.json").read_bytes())
        progress["rows"] = 3
        (folder / "progress.json").write_text(json.dumps(progress))
    with pytest.raises(Damaged, match="--restart"):
        TableWork(path, IDENTITY)
    assert len(table_work.verify(folder).problems) == 1


def test_a_name_that_is_taken_is_refused(tmp_path):
    for ending in (".csv", ".jsonl"):
        work = TableWork(tmp_path / f"out{ending}", IDENTITY)
        with pytest.raises(InputError, match="column 'value'.*--prefix"):
            append(work, chunk(0, value=3))


def test_kinds_that_change_along_the_way(tmp_path):
    path = tmp_path / "out.parquet"
    work = TableWork(path, IDENTITY)
    append(work, chunk(0, n=None), chunk(3, n=1))
    work = TableWork(path, IDENTITY)
    append(work, chunk(6, n=2.5))
    with pytest.raises(InputError, match="row 9, column 'n': found 'x'"):
        append(work, chunk(9, n="x"))
    work.finish({})
    assert pq.read_table(path)["n"].to_pylist() == [None] * 3 + [1.0] * 3 + [2.5] * 3


def test_what_an_ending_cannot_hold_is_refused_and_kept(tmp_path):
    path = tmp_path / "out.parquet"
    work = TableWork(path, IDENTITY)
    append(work, chunk(0, n={}))
    with pytest.raises(InputError, match=r"\.parquet cannot hold .*\.jsonl"):
        work.finish({})
    assert not path.exists() and TableWork(path, IDENTITY).rows == 3
