"""Every format with every kind of damage: counted, or refused in one line."""

import csv
import gzip
import io
import json
import os

import pytest
from fixtures_run import assert_refused

from sdjax.data.corpus import Corpus
from sdjax.prepare import shards

ROWS = 80  # good reviews in every file
FORMATS = (".jsonl", ".json.gz", ".jsonl.zst", ".csv", ".csv.gz", ".txt", ".parquet")
NO_PACKAGE = {".zst": "backports.zstd"}


@pytest.fixture(params=FORMATS)
def suffix(request):
    """A format; skipped where its package is not installed."""
    for end, package in NO_PACKAGE.items():
        if request.param.endswith(end):
            pytest.importorskip(package)
    return request.param


def encoded(suffix: str, texts: list[bytes | None]) -> bytes:
    """A file of one column `text`; None leaves the key out where rows have keys."""
    if suffix.startswith(".json"):
        rows = [b'{"n": 1}' if t is None else b'{"text": "%s"}' % t for t in texts]
        data = b"\n".join(rows)
    elif suffix.startswith(".csv"):
        data = b'n,text\n%s"' % b"".join(b'1,"%s"\n' % (t or b"") for t in texts)[:-1]
        data = data[:-1] + b"\n"
    elif suffix == ".txt":
        data = b"\n".join(t or b"" for t in texts)
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(pa.table({"text": pa.array(texts, pa.binary())}), buffer)
        return buffer.getvalue()
    return compressed(suffix, data)


def compressed(suffix: str, data: bytes) -> bytes:
    if suffix.endswith(".gz"):
        return gzip.compress(data, 1)
    if suffix.endswith(".zst"):
        from backports import zstd

        return zstd.compress(data)
    return data


def good() -> list[bytes | None]:
    return [b"review number %d" % i for i in range(ROWS)]


def with_rows(*rows: bytes | None) -> list[bytes | None]:
    """Good reviews, and these after the first ten."""
    return [*good()[:10], *rows, *good()[10:]]


def place(path, suffix: str, row: int) -> str:
    """How messages name a row: a header is a line, too."""
    return f"{path}:{row + 1 + suffix.startswith('.csv')}"


@pytest.fixture
def prepare(tmp_path, command):
    """Prepare files of tmp_path with few shards and much patience."""

    def run(*paths, options=()):
        arguments = ["prepare", *paths, "--out", tmp_path / "corpus", *options]
        if "--shards" not in options:
            arguments += ["--shards", "1/1/1"]
        return command.sdjax(*arguments, "--max-bad-fraction", 0.2)

    return run


def write(tmp_path, suffix, content: bytes):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    return path


def reviews(tmp_path) -> int:
    corpus = Corpus.open(tmp_path / "corpus")
    corpus.verify()
    return corpus.manifest["reviews"]


def nothing_but_the_input(tmp_path) -> bool:
    return all(path.name.startswith("a") for path in tmp_path.iterdir())


def test_wrong_encodings(tmp_path, prepare, suffix):
    path = write(tmp_path, suffix, encoded(suffix, with_rows(b"caf\xe9", b"na\xefve")))
    done = prepare(path)
    assert done.status == 0, done.err
    assert f"2 non-UTF-8 bytes (first: {place(path, suffix, 10)}" in done.out
    if suffix != ".parquet":
        assert "is e9" in done.out and "--encoding cp1252" in done.out
    assert reviews(tmp_path) == ROWS


def test_rows_without_the_key(tmp_path, prepare, suffix):
    path = write(tmp_path, suffix, encoded(suffix, with_rows(None, None)))
    done = prepare(path)
    assert done.status == 0, done.err
    reason = "empty text" if suffix[:4] in (".csv", ".txt") else "row without 'text'"
    assert f"2 {reason} (first: {place(path, suffix, 10)})" in done.out
    assert reviews(tmp_path) == ROWS


def test_nul_bytes(tmp_path, prepare, suffix):
    """In JSON they are malformed; elsewhere a byte like any other."""
    path = write(tmp_path, suffix, encoded(suffix, with_rows(b"a\0b")))
    done = prepare(path)
    assert done.status == 0, done.err
    if suffix.startswith(".json"):
        assert f"1 malformed JSON (first: {place(path, suffix, 10)})" in done.out
        assert reviews(tmp_path) == ROWS
    else:
        assert reviews(tmp_path) == ROWS + 1


BROKEN = {
    ".json": (b'{"text": "cut of', "malformed JSON"),
    ".csv": (b"1", "CSV row with another number of columns"),
}


@pytest.mark.parametrize("plain", [".jsonl", ".json.gz", ".csv", ".csv.gz"])
def test_broken_lines(tmp_path, prepare, plain):
    line, reason = BROKEN[plain[: plain.index("n" if "json" in plain else "v") + 1]]
    data = encoded(plain, good())
    data = gzip.decompress(data) if plain.endswith(".gz") else data
    lines = data.splitlines()
    lines[40:40] = [line, line]
    path = write(tmp_path, plain, compressed(plain, b"\n".join(lines) + b"\n"))
    done = prepare(path)
    assert done.status == 0, done.err
    assert f"2 {reason}" in done.out and f"(first: {path}:41" in done.out
    assert reviews(tmp_path) == ROWS


def test_a_review_of_ten_megabytes(tmp_path, prepare, suffix):
    """Larger than what is read at once, several times."""
    giant = b"very " * 2_000_000
    path = write(tmp_path, suffix, encoded(suffix, with_rows(giant)))
    done = prepare(path)
    assert done.status == 0, done.err
    assert reviews(tmp_path) == ROWS + 1
    corpus = Corpus.open(tmp_path / "corpus")
    longest = max(corpus.lengths(split, 0).max() for split in corpus.shards)
    assert longest == len(giant) - 1 + 3


def test_a_review_longer_than_any_line_may_be(tmp_path, prepare, monkeypatch):
    monkeypatch.setattr("sdjax.data.formats.lines.MAX_LINE_BYTES", 1000)
    monkeypatch.setattr("sdjax.data.formats.lines.CHUNK_BYTES", 300)
    path = write(tmp_path, ".jsonl", encoded(".jsonl", with_rows(b"x" * 5000)))
    done = prepare(path)
    assert done.status == 0, done.err
    assert f"1 line longer than 64 MiB (first: {path}:11)" in done.out
    assert reviews(tmp_path) == ROWS


def test_too_many_bad_rows(tmp_path, prepare, suffix):
    path = write(tmp_path, suffix, encoded(suffix, with_rows(*[b"\xff"] * ROWS)))
    refused = prepare(path)
    assert_refused(refused, "50.0%", "20.0%", f"first: {place(path, suffix, 10)}")
    assert nothing_but_the_input(tmp_path)


def test_empty_files(tmp_path, prepare, suffix):
    path = write(tmp_path, suffix, b"")
    assert_refused(prepare(path), f"{path}: the file is empty")
    if suffix != ".txt":
        path.write_bytes(encoded(suffix, []))
        refused = prepare(path)
        assert refused.status == 2 and nothing_but_the_input(tmp_path)


def test_a_directory(tmp_path, prepare, suffix):
    path = tmp_path / f"a{suffix}"
    path.mkdir()
    assert_refused(prepare(path), f"{path}: no file below it")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path, prepare, suffix):
    path = write(tmp_path, suffix, encoded(suffix, good()))
    path.chmod(0)
    assert_refused(prepare(path), f"{path}: not readable", "permissions")


def test_a_file_cut_short(tmp_path, prepare, suffix):
    """Of lines the last one is lost; what is packed cannot be trusted at all."""
    content = encoded(suffix, good())
    path = write(tmp_path, suffix, content[: len(content) * 2 // 3])
    done = prepare(path)
    if suffix in (".jsonl", ".csv", ".txt"):
        assert done.status == 0, done.err
        assert reviews(tmp_path) in range(ROWS // 2, ROWS)
    else:
        assert_refused(done, str(path), "damaged", "fetch it again")
        assert nothing_but_the_input(tmp_path)


def test_another_format_than_the_name_says(tmp_path, prepare):
    path = write(tmp_path, ".parquet", b"no such thing\n" * 10)
    assert_refused(prepare(path), str(path), "damaged")
    path = write(tmp_path, ".jsonl.gz", b"no such thing\n" * 10)
    assert_refused(prepare(path), str(path), "does not look like .jsonl", "--format")
    path = write(tmp_path, ".csv", json.dumps([{"text": "a"}]).encode())
    assert_refused(prepare(path), str(path), "like json", "--format json")


def test_two_files_of_different_schemas(tmp_path, prepare):
    """Amazon's of 2018 and 2023: each has its own key, found by itself."""
    for name, key in (("a1.jsonl", "reviewText"), ("a2.jsonl", "text")):
        rows = [json.dumps({key: f"{name} {i}", "x": 1}) for i in range(ROWS)]
        (tmp_path / name).write_text("\n".join(rows))
    buffer = io.StringIO()
    csv.writer(buffer).writerows([["sentence"], *([f"csv {i}"] for i in range(ROWS))])
    (tmp_path / "a3.csv").write_text(buffer.getvalue())
    done = prepare(f"{tmp_path}/a*")
    assert done.status == 0, done.err
    assert reviews(tmp_path) == 3 * ROWS
    names = [f["name"] for f in _request(tmp_path)["source"]["files"]]
    assert names == ["a1.jsonl", "a2.jsonl", "a3.csv"]


def _request(tmp_path) -> dict:
    return Corpus.open(tmp_path / "corpus").manifest["request"]


def test_a_key_that_only_one_of_two_files_has(tmp_path, prepare):
    (tmp_path / "a1.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "a2.jsonl").write_text('{"body": "a"}\n')
    refused = prepare(f"{tmp_path}/a*", options=["--text-key", "text"])
    assert_refused(refused, f"{tmp_path}/a2.jsonl: no text key 'text'", "exist: body")


def test_patterns_and_names(tmp_path, prepare, command):
    path = write(tmp_path, ".txt", encoded(".txt", good()))
    assert_refused(prepare(f"{tmp_path}/b*.txt"), "b*.txt: no file matches")
    assert_refused(prepare(path, path), f"{path}: given twice")
    assert_refused(prepare(path, "tfds:imdb_reviews"), "tfds:imdb_reviews", "alone")


def test_fewer_reviews_than_shards(tmp_path, prepare, suffix):
    path = write(tmp_path, suffix, encoded(suffix, good()))
    refused = prepare(path, options=["--shards", "90/1/1"])
    assert_refused(refused, f"{ROWS} different reviews", "--shards 2/1/1")
    assert nothing_but_the_input(tmp_path)


def test_no_space_left(tmp_path, prepare, suffix, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    path = write(tmp_path, suffix, encoded(suffix, good()))
    monkeypatch.setattr(shards.ShardWriter, "finish", full)
    assert_refused(prepare(path), "disk full", "free")
    assert nothing_but_the_input(tmp_path)
