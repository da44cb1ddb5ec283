"""What files of the field look like opens as it is; what is wrong is named."""

import bz2
import csv
import gzip
import io
import json
import lzma

import pytest

from sdjax.data.formats import lines as line_files
from sdjax.data.formats.options import Options
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import open_input
from sdjax.errors import InputError

ROWS = [(f'A film, number {i}; it said "wow" & left.', i % 2) for i in range(20)]
TEXTS = [text for text, _ in ROWS]
RECORDS = [{"review": text, "label": label} for text, label in ROWS]


def table(header=("review", "label"), encoding="utf-8", rows=ROWS, **how) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, **{"lineterminator": "\n", **how})
    if header:
        writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue().encode(encoding)


@pytest.fixture
def read(tmp_path):
    """Write a file and read it: examples, the report, the input."""

    def run(name: str, data: bytes | str, label_key="label", **keys):
        options = Options(**{k: keys.pop(k) for k in Options._fields if k in keys})
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        opened = open_input(str(path), label_key=label_key, options=options, **keys)
        report = ReadReport()
        return list(opened.examples(report)), report, opened

    return run


def assert_rows(examples) -> None:
    assert [(e.text, e.label) for e in examples] == ROWS


@pytest.mark.parametrize("name", ["r.csv", "r.CSV", "r.data", "r", "r.csv.gz"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_compression_goes_by_the_bytes(read, name, pack):
    examples, _, opened = read(name, pack(table()))
    assert_rows(examples)
    noted = [note for note in opened.notes if "not compressed in spite" in note]
    assert len(noted) == (pack is bytes and name.endswith(".gz"))


@pytest.mark.parametrize(
    "how",
    [
        {"delimiter": ";", "encoding": "utf-8-sig", "lineterminator": "\r\n"},
        {"delimiter": "\t"},
        {"delimiter": "|"},
        {"lineterminator": "\r"},
        {"doublequote": False, "escapechar": "\\", "quoting": csv.QUOTE_ALL},
        {"encoding": "utf-16", "lineterminator": "\r\n"},
        {"header": ("review", " label ")},
    ],
    ids=lambda how: "-".join(map(str, how)),
)
def test_tables_as_programs_write_them(read, how):
    assert_rows(read("r.csv", table(**how))[0])


def test_quotes_that_mean_nothing(read):
    rows = [(f'"Open quote only {text}', label) for text, label in ROWS]
    data = "review\tlabel\n" + "".join(f"{t}\t{y}\n" for t, y in rows)
    for options in ({}, {"quoting": "none"}):
        examples, report, _ = read("r.tsv", data, **options)
        assert [(e.text, e.label) for e in examples] == rows and not report.skipped


def test_text_in_utf16(read):
    data = "\r\n".join(TEXTS).encode("utf-16")
    assert [e.text for e in read("r.txt", data, None)[0]] == TEXTS
    with pytest.raises(InputError, match="50% .*UTF-16.*--encoding utf-16-le"):
        read("r.txt", data[2:], None)
    examples, *_ = read("r.txt", data[2:], None, encoding="utf-16-le")
    assert [e.text for e in examples] == TEXTS


def test_other_encodings_are_never_guessed(read):
    texts = [f"caf\xe9 number {i}" for i in range(5)]
    data = "\n".join(texts).encode("cp1252")
    _, report, _ = read("r.txt", data, None)
    with pytest.raises(InputError, match=r"r\.txt:1: byte 4 .* e9 20 .*'café .*cp1252"):
        report.check()
    examples, *_ = read("r.txt", data, None, encoding="cp1252")
    assert [e.text for e in examples] == texts


def test_bytes_that_the_given_encoding_has_not(read):
    _, report, _ = read("r.txt", b"fine\nbad \x81\n", None, encoding="cp1252")
    assert report.skipped == {"bytes that are not cp1252": 1}


def test_a_first_row_that_is_data(read):
    with pytest.raises(InputError, match="'A film.*a sentence.*--no-header.*-key 0"):
        read("r.csv", table(header=None))
    numbers = [(5 - y, "short", t) for t, y in ROWS]
    with pytest.raises(InputError, match="'5' .*a number above numbers.*-key 2"):
        read("r.csv", table(header=None, rows=numbers))
    keys = {"text_key": "0", "label_key": "1", "header": False}
    assert_rows(read("r.csv", table(header=None), **keys)[0])


def test_a_column_twice(read):
    with pytest.raises(InputError, match="names the column 'text' twice"):
        read("r.csv", table(header=("text", "text ")))


@pytest.mark.parametrize("row", ["{}\t{}\n", "{1}\t{0}\n"])
def test_a_table_is_no_text(read, row):
    data = "".join(row.format(*r) for r in ROWS)
    with pytest.raises(InputError, match="have 1 tab: .*--format tsv.*--format text"):
        read("r.txt", data, None)
    examples, *_ = read("r.txt", data, None, format="text")
    assert [e.text for e in examples] == data.splitlines()


def test_trees(read):
    trees = ["(3 (2 It) (4 (2 -LRB-) (4 works)))", "(2 (2 So) (2 so))", "(0 Bad)"] * 10
    data = "\n".join(trees) + "\n"
    examples, report, opened = read("t.txt", data)
    assert [(e.text, e.label) for e in examples[:2]] == [("It ( works", 1), ("Bad", 0)]
    assert report.left_out == {"neutral": 10} and not report.skipped
    assert opened.classes == ("negative", "positive")
    five = read("t.txt", data, "five")[0]
    assert [e.label for e in five[:3]] == [3, 2, 0]
    phrases = read("t.txt", data, "five", format="sst-phrases")[0]
    assert [e.text for e in phrases[:5]] == [
        "It ( works",
        "It",
        "( works",
        "(",
        "works",
    ]
    assert [e.row for e in phrases] == list(range(90))
    _, report, _ = read("t.txt", data + "(3 (2 It)\n", None)
    assert report.first["malformed tree"].endswith("t.txt:31")


def test_fasttext(read):
    data = "".join(f"__label__{y + 1} {t}\n" for t, y in ROWS)
    examples, _, opened = read("r.txt", data)
    assert [(e.text, e.label) for e in examples] == [(t, y + 1) for t, y in ROWS]
    assert "fasttext by its content" in opened.notes[0]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(RECORDS),
        json.dumps(RECORDS, indent=2),
        json.dumps({"data": RECORDS}),
        json.dumps({"version": "1.0", "data": RECORDS}, indent=1),
        "\n".join(json.dumps(r, indent=2) for r in RECORDS),
        "\r\n".join(json.dumps(r) for r in RECORDS),
        json.dumps(
            {k: {str(i): r[k] for i, r in enumerate(RECORDS)} for k in RECORDS[0]}
        ),
        json.dumps({k: [r[k] for r in RECORDS] for k in RECORDS[0]}),
    ],
    ids=["array", "pretty", "data", "deep", "objects", "lines", "pandas", "columns"],
)
@pytest.mark.parametrize("chunk", [7, 2**18])
def test_layouts_of_json(read, monkeypatch, text, chunk):
    monkeypatch.setattr(line_files, "CHUNK_BYTES", chunk)
    assert_rows(read("r.json", text)[0])


def test_objects_are_named_by_their_line_and_giants_are_skipped(read, monkeypatch):
    monkeypatch.setattr(line_files, "MAX_LINE_BYTES", 300)
    monkeypatch.setattr(line_files, "CHUNK_BYTES", 50)
    objects = [json.dumps({"text": f'"{i}\\'}, indent=1) for i in range(9)]
    objects[2] = '{\n "text": no quotes\n}'
    objects[5] = json.dumps({"text": "{[" * 400}, indent=1)
    for text in ("[\n" + ",\n".join(objects) + "\n]", "\n" + "\n".join(objects)):
        examples, report, _ = read("r.json", text, None)
        assert [e.text for e in examples] == [f'"{i}\\' for i in (0, 1, 3, 4, 6, 7, 8)]
        assert report.first["malformed JSON"].endswith("r.json:8")
        assert report.first["object longer than 64 MiB"].endswith("r.json:17")
    with pytest.raises(InputError, match="line 5: the brackets .* never close"):
        read("r.json", '{\n"text": "a"\n}\n\n{\n"text": "b"\n', None)


def test_keys_within_objects_and_several_of_them(read):
    rows = [{"title": t[:5], "review": {"text": t, "stars": y}} for t, y in ROWS]
    rows[0]["title"] = None
    data = "".join(json.dumps(row) + "\n" for row in rows)
    keys = {"label_key": "review.stars", "text_key": "review.text"}
    assert_rows(read("r.jsonl", data, **keys)[0])
    examples, *_ = read("r.jsonl", data, None, text_key="title,review.text")
    assert [e.text for e in examples] == [TEXTS[0]] + [
        f"{t[:5]} {t}" for t in TEXTS[1:]
    ]
    with pytest.raises(InputError, match="exist: title, review.text, review.stars"):
        read("r.jsonl", data, None)


def test_written_out_escapes(read):
    rows = [(r"one\ntwo \"three\" \\n", 1)]
    data = table(rows=rows)
    assert read("r.csv", data)[0][0].text == rows[0][0]
    assert read("r.csv", data, unescape=True)[0][0].text == 'one\ntwo "three" \\n'


def test_fasta(read):
    data = ">sp|P1 a protein\nMKV\nLaa*\n\n>P2\nMM-\n>P3\nMK1\n"
    examples, *_ = read("p.fa", data, None, id_key="id")
    assert [(e.text, e.id) for e in examples[:2]] == [
        ("MKVLAA", "sp|P1"),
        ("MM-", "P2"),
    ]
    with pytest.raises(InputError, match="p.faa: its content does not look like .faa"):
        read("p.faa", "MKV\n", None)
    _, report, _ = read("p.fasta", b">P1\nMK\xff\n>P2\nMM\n", None)
    assert report.first == {"non-UTF-8 bytes": report.first["non-UTF-8 bytes"]}
    assert report.kept == 1


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("r.csv", json.dumps(RECORDS[0]), "like json; give --format json"),
        ("r.jsonl", table(), "like csv; give --format csv"),
        ("r.txt", "".join(json.dumps(r) + "\n" for r in RECORDS), "--format json"),
        ("r.parquet", table(), "like csv"),
        ("r.fasta", table(), "does not look like .fasta"),
    ],
)
def test_a_contradiction_names_the_format(read, name, data, words):
    with pytest.raises(InputError, match=words):
        read(name, data, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "xml"}, "--format xml: no such format"),
        ({"delimiter": ",,"}, "--delimiter ',,': give one character"),
        ({"encoding": "klingon"}, "--encoding klingon"),
        ({"classes": ("a", "a")}, "--classes names 'a' twice"),
        ({"classes": ("a",), "label_map": (("1", "b"),)}, "class 'b'"),
    ],
)
def test_options_that_nothing_can_be_read_with(read, options, words):
    with pytest.raises(InputError, match=words):
        read("r.csv", table(), **options)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_giant_line_is_skipped_however_it_is_packed(
    read, monkeypatch, pack, encoding
):
    monkeypatch.setattr(line_files, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(line_files, "CHUNK_BYTES", 300)
    data = ("short\n" + "x" * 9000 + "\nlast\n").encode(encoding)
    examples, report, _ = read("r.txt", pack(data), None)
    assert [e.text for e in examples] == ["short", "last"]
    assert report.first["line longer than 64 MiB"].endswith("r.txt:2")
