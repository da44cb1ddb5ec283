"""A small file that grows without end: bounded memory, or a refusal."""

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fixtures_run import assert_refused

from sdjax.bounds import check_zip
from sdjax.data.formats import compression, table_rows
from sdjax.data.formats.compression import Stored, opened
from sdjax.data.text import _PIECE, Normalisation
from sdjax.errors import Damaged, InputError
from sdjax.features import file as feature_file

ROOT = Path(__file__).parents[2]
MEGABYTE = 10**6


# A process is charged with the memory of the one that it was forked from, which the
# tests are too large to be: a small one stands between.
MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(done.stdout.decode())
print(done.returncode, used // (1024 if sys.platform == "darwin" else 1) * 1024)
"""


def peak_of(*arguments) -> tuple[int, str, int]:
    """Run `sdjax` by itself; return its status, what it said, and its peak memory."""
    command = [sys.executable, "-m", "sdjax.cli", *map(str, arguments)]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    out, _, figures = done.stdout.rstrip("\n").rpartition("\n")
    status, peak = map(int, figures.split())
    return status, out, peak


def write_long_line(path: Path, size: int, opener) -> None:
    """Write some usable lines with one of `size` bytes among them."""
    row = '{{"text": "number {}"}}\n'
    with opener(path, "wb") as file:
        file.write("".join(row.format(i) for i in range(100)).encode())
        file.write(b'{"text": "')
        for _ in range(size // MEGABYTE):
            file.write(b"a" * MEGABYTE)
        file.write(b'"}\n')
        file.write("".join(row.format(i) for i in range(100, 200)).encode())


def zstd_open(path, mode):
    return compression._zstd_module().open(path, mode)


@pytest.mark.parametrize(
    ("opener", "size"),
    [
        (gzip.open, 200),
        pytest.param(zstd_open, 200, marks=pytest.mark.slow),
        *(
            pytest.param(opener, 1000, marks=pytest.mark.slow)
            for opener in (open, gzip.open, zstd_open, bz2.open, lzma.open)
        ),
    ],
)
def test_a_long_line_is_counted_in_bounded_memory(tmp_path, opener, size):
    if opener is zstd_open and compression._zstd_module() is None:
        pytest.skip("zstd is not installed")
    path = tmp_path / "in.jsonl"
    write_long_line(path, size * MEGABYTE, opener)
    out = ("--out", tmp_path / "corpus", "--shards", "1/1/1", "--workers", 1)
    status, said, peak = peak_of("prepare", path, *out)
    assert status == 0, said
    assert "1 line longer than 64 MiB" in said and "read 201" in said
    assert peak < 420 * MEGABYTE


HOSTILE = {
    "many tags": ("x<b>", True),
    "one run of tags": ("<b>", True),
    "one tag that never closes": ("<b ", True),
    "entities": ("ab&lt;", False),
    "line ends": ("\n", False),
    "brackets": ("<", True),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_line_of_60_megabytes_with_tags(tmp_path, kind):
    unit, _ = HOSTILE[kind]
    text = unit * (60 * MEGABYTE // len(json.dumps(unit)[1:-1]))
    path = tmp_path / "in.jsonl"
    rows = [{"text": f"number {i}"} for i in range(200)]
    with open(path, "w") as file:
        for row in [*rows, {"text": text + " end"}]:
            file.write(json.dumps(row) + "\n")
    out = ("--out", tmp_path / "corpus", "--shards", "1/1/1", "--workers", 1)
    status, said, peak = peak_of("prepare", path, *out, "--strip-tags")
    assert status == 0, said
    assert peak < 650 * MEGABYTE, f"{peak / 1e6:.0f} MB"


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("size", [_PIECE - 3, 3 * _PIECE + 5])
def test_a_long_text_is_cleaned_as_if_it_were_cleaned_at_once(kind, size):
    import html
    import re

    unit, strip_tags = HOSTILE[kind]
    text = f"begin {unit * (size // len(unit))} <i> end &amp; all"
    found = Normalisation(strip_tags=strip_tags).normalise(text)
    plain = html.unescape(text)
    if strip_tags:
        plain = re.sub(r"(?:</?[a-zA-Z][^<>]*>\s*)+", " ", plain)
    assert found == re.sub(r"\r\n|\r|\n", " ", plain).strip()


@pytest.mark.parametrize(
    "text",
    ["<b>x</b>  <i>", "a < b > c", "<b<i>>", "</ b>", "<a\n href='x'>\n<br/> y", "<3"],
)
def test_tags_are_what_they_were(text):
    import re

    plain = re.sub(r"(?:</?[a-zA-Z][^<>]*>\s*)+", " ", text)
    wanted = re.sub(r"\r\n|\r|\n", " ", plain).strip()
    assert Normalisation(strip_tags=True).normalise(text) == wanted


def test_a_quote_that_swallows_a_file_is_refused(command, tmp_path, monkeypatch):
    monkeypatch.setattr(table_rows, "_MOST_LINES", 5000)
    path = tmp_path / "in.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write("text\n" + "fine\n" * 20 + '"open\n' + "x\n" * 10_000)
    out = ("--out", tmp_path / "corpus", "--shards", "1/1/1")
    refused = command.sdjax("prepare", path, *out)
    assert_refused(refused, "in.csv.gz:22: a quote that opens", "5,000 lines")
    assert not (tmp_path / "corpus").exists()


@pytest.mark.slow
def test_300_million_lines_in_an_open_quote_end_at_once(tmp_path):
    path = tmp_path / "in.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'text\nfine\n"open\n')
        for _ in range(300):
            file.write(b"x\n" * MEGABYTE)
    out = ("--out", tmp_path / "corpus", "--shards", "1/1/1", "--workers", 1)
    status, said, peak = peak_of("prepare", path, *out)
    assert status == 2 and "not closed within 1,000,000 lines" in said
    assert peak < 420 * MEGABYTE


def test_a_features_file_that_grows_a_thousand_times(tmp_path):
    path = tmp_path / "x.npz"
    count = 4_000_000
    np.savez_compressed(
        path,
        features=np.zeros((count, 8), np.float32),
        ids=np.zeros(count, np.int64),
    )
    assert path.stat().st_size < MEGABYTE
    with pytest.raises(Damaged, match="bytes and would be"):
        feature_file.load(path)


def test_what_hardly_grows_is_read(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", a=np.random.default_rng(0).normal(size=999))
    check_zip(tmp_path / "x.npz")


@pytest.mark.parametrize("shape", [(10**12,), (2**31, 2**20)])
def test_an_array_that_says_it_is_huge(tmp_path, shape):
    from sdjax.model.classifier import Classifier

    made = Classifier(
        *("binary", ("a", "b"), np.ones((1, 3)), np.zeros(1)), np.array([0.5])
    )
    made.save(tmp_path / "made")
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    with open(tmp_path / "made" / "coef.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    described = tmp_path / "made" / "classifier.json"
    data = json.loads(described.read_text())
    del data["digests"], data["xxh3_128"]
    described.write_text(json.dumps(data))
    with pytest.raises(InputError, match="coef.npy"):
        Classifier.load(tmp_path / "made")


def test_xz_streams_one_after_another_are_read(tmp_path):
    path = tmp_path / "a.xz"
    parts = [os.urandom(300_000), b"", b"abc" * 99_999]
    path.write_bytes(b"\0\0\0\0".join(map(lzma.compress, parts)) + b"\0" * 8)
    with opened(Stored(path)) as (_, stream):
        assert stream.read() == b"".join(parts)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="damaged xz"):
        with opened(Stored(path)) as (_, stream):
            stream.read()


def test_xz_that_asks_for_more_memory_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.xz"
    path.write_bytes(lzma.compress(b"abc" * 99_999, preset=9))
    monkeypatch.setattr(compression, "_XZ_MEMORY", 2**20)
    with pytest.raises(InputError, match="damaged xz.*[Mm]emory"):
        with opened(Stored(path)) as (_, stream):
            stream.read()
