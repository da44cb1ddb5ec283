"""Blocks: sent by value or by reference, they yield the same examples."""

import gzip
import pickle

import pytest

from sdjax.data.formats import lines as line_files
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import open_input
from sdjax.data.text import Normalisation
from sdjax.prepare import blocks
from sdjax.prepare.segments import encode_block

GOOD = b'{"text": "number %d", "stars": %d}\n'


def found(source, send):
    report, examples, sizes = ReadReport(), [], []
    opened = open_input(str(source), label_key="stars").parts
    for block in blocks.blocks(opened, report):
        handed_over = pickle.dumps(block.by_reference() if send else block)
        sizes.append(len(handed_over))
        block = pickle.loads(handed_over)
        examples += block.examples()
        report.add(block.report)
    return examples, report, sizes


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(line_files, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(line_files, "MAX_LINE_BYTES", 3000)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 5000)


@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf"], ids=["plain", "marked"])
@pytest.mark.parametrize("giant", [0, 10_000])
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_block_by_reference_has_the_same_examples(
    tmp_path, small, begin, giant, name
):
    lines = [GOOD % (i, i % 5) for i in range(1000)]
    lines[20] = b"\n"
    lines[300] = b"{\n"
    lines[301] = b'["a list"]\n'
    lines[500] = b'{"text": "%s", "stars": 1}\n' % (b"x" * giant)
    lines[700] = b'{"text": "no stars"}\n'
    lines[999] = lines[999].rstrip()
    data = begin + b"".join(lines)
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    expected, report, sizes = found(path, send=False)
    assert found(path, send=True)[:2] == (expected, report)
    used = [i for i in range(1000) if i not in (20, 300, 301, 500, 700)]
    texts = {text: (place, label) for _, place, text, label in expected}
    assert all(texts[f"number {i}"] == (i + 1, i % 5) for i in used)
    assert report.read == 999
    assert report.first["malformed JSON"] == f"{path}:301"
    assert report.first["not a JSON object"] == f"{path}:302"
    assert report.first["label missing or not a number"] == f"{path}:701"
    if giant:
        assert report.first["line longer than 64 MiB"] == f"{path}:501"


def test_a_block_by_reference_is_small(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(GOOD % (i, i % 5) for i in range(10_000)))
    assert sum(found(path, send=False)[2]) > path.stat().st_size
    assert sum(found(path, send=True)[2]) < 2000


def test_small_files_share_a_block(tmp_path):
    for i in range(30):
        (tmp_path / f"{i:02d}.jsonl").write_bytes(GOOD % (i, i % 5))
    (tmp_path / "bad.jsonl").write_bytes(b'{"text": 3, "stars": 1}\n')
    opened = open_input(f"{tmp_path}/*.jsonl", label_key="stars").parts
    (block,) = blocks.blocks(opened, ReadReport())
    assert len(block.parts) == 31
    for given in (block, pickle.loads(pickle.dumps(block.by_reference()))):
        index, reviews, report = encode_block(given, Normalisation(), 0, 3)
        assert len(reviews) == 30 and index["label"].tolist() == [
            i % 5 for i in range(30)
        ]
        assert index["row"].tolist() == list(range(30))
        assert report.first == {"text that is not a string": f"{tmp_path}/bad.jsonl:1"}
