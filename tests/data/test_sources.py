import gzip
import json
import os

import pytest

from sdjax.data.read_report import ReadReport
from sdjax.data.sources import Example, counted, open_input, read_examples
from sdjax.errors import InputError


def read(path, **keys):
    report = ReadReport()
    return list(read_examples(str(path), report=report, **keys)), report


def write(path, content):
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


LONG = b"l" * 80 + b",0\n"  # beside which a NUL is less than 1% of the bytes
ROWS = [{"reviewText": "Good.", "overall": 5}, {"reviewText": "Bad.", "overall": 1.0}]
JSON = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = "overall,reviewText\n5,Good.\n1.0,Bad.\n"
EXPECTED = [Example("Good.", 5.0, 0), Example("Bad.", 1.0, 1)]


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "content"), [("a.jsonl", JSON), ("a.json", JSON), ("a.csv", CSV)]
)
def test_every_format_gives_the_same_examples(tmp_path, name, content, gz):
    path = write(tmp_path / (name + gz), content)
    examples, report = read(path, text_key="reviewText", label_key="overall")
    assert examples == EXPECTED
    assert report.read == 2 and not report.skipped
    assert report.position == report.total == path.stat().st_size


def test_without_a_label_key_labels_are_none(tmp_path):
    examples, _ = read(write(tmp_path / "a.jsonl", JSON))
    assert examples == [e._replace(label=None) for e in EXPECTED]


@pytest.mark.parametrize("gz", ["", ".gz"])
def test_plain_text_is_one_review_a_line(tmp_path, gz):
    path = write(tmp_path / f"a.txt{gz}", "Good.\n\nBad.")
    examples, report = read(path)
    assert [(e.text.strip(), e.row) for e in examples] == [("Good.", 0), ("Bad.", 2)]
    assert report.read == 3
    assert report.first == {"empty text": f"{path}:2"}


def test_python_literals_of_the_oldest_dumps(tmp_path):
    line = """{'reviewText': "don't \\d", 'overall': 4.0}\n"""
    examples, report = read(write(tmp_path / "a.json", line), label_key="overall")
    assert examples == [Example("don't \\d", 4.0, 0)]
    assert not report.skipped


def test_literals_are_never_evaluated(tmp_path):
    line = "{'text': __import__('os').getcwd()}\n"
    examples, report = read(write(tmp_path / "a.json", line))
    assert not examples
    assert report.skipped == {"malformed JSON": 1}


def test_each_bad_json_row_is_counted_with_its_first_place(tmp_path):
    lines = [
        b'{"text": "good"}',
        b"{oops",
        b'{"text": "\xff"}',
        b"",
        b'"a string"',
        b'{"title": "no text"}',
        b'{"text": null}',
        b'{"text": 3}',
        b'{"text": "  "}',
        b"{again",
        b'{"a": ' * 100_000,
        b'{"text": "last"}',
    ]
    path = write(tmp_path / "a.jsonl", b"\n".join(lines))
    examples, report = read(path)
    # A blank line is layout, not a row.
    assert examples == [Example("good", None, 0), Example("last", None, 10)]
    assert report.read == 11 and report.kept == 2
    assert report.skipped == {
        "malformed JSON": 3,
        "non-UTF-8 bytes": 1,
        "not a JSON object": 1,
        "row without 'text'": 2,
        "text that is not a string": 1,
        "empty text": 1,
    }
    assert report.first["malformed JSON"] == f"{path}:2"
    assert report.first["empty text"] == f"{path}:9"
    assert "9 " not in report.summary() and f"{path}:2" in report.summary()


@pytest.mark.parametrize("value", ["null", '"five"', "NaN", "1e300", "[1]", '""'])
def test_a_label_that_is_not_a_number_is_counted(tmp_path, value):
    good = '{"text": "a", "label": 1}\n'
    bad = f'{{"text": "b", "label": {value}}}\n'
    path = write(tmp_path / "a.jsonl", good + bad + '{"text": "c"}\n')
    examples, report = read(path, label_key="label")
    assert examples == [Example("a", 1.0, 0)]
    assert report.skipped == {"label missing or not a number": 2}
    assert report.first["label missing or not a number"] == f"{path}:2"


def test_csv_quoted_newlines_and_huge_fields(tmp_path):
    huge = "x" * 1_000_000
    content = f'text,label\n"two\nlines, ""quoted""",1\n{huge},0\n\nlast,1\n'
    examples, report = read(write(tmp_path / "a.csv", content), label_key="label")
    assert [e.text for e in examples] == ['two\nlines, "quoted"', huge, "last"]
    assert [e.label for e in examples] == [1, 0, 1]
    assert not report.skipped


def test_each_bad_csv_row_is_counted_with_its_first_place(tmp_path):
    content = b"\xef\xbb\xbftext,label\ngood,1\n\xff,1\nshort\n,1\na\x00b,0\n" + LONG
    path = write(tmp_path / "a.csv", content)
    examples, report = read(path, label_key="label")
    assert [e.text for e in examples] == ["good", "a\0b", "l" * 80]
    columns = "CSV row with another number of columns than the header"
    assert report.first == {
        "non-UTF-8 bytes": f"{path}:3",
        columns: f"{path}:4",
        "empty text": f"{path}:5",
    }


@pytest.mark.parametrize("end", ["", 'z,"closed" again\nnext,1\n'])
def test_an_open_quote_costs_every_row_that_it_swallows(tmp_path, end):
    path = write(tmp_path / "a.csv", 'text,label\na,1\n"open,1\nx,1\ny,0\n' + end)
    examples, report = read(path)
    assert [e.text for e in examples] == (["a", "next"] if end else ["a"])
    assert report.skipped == {"malformed CSV row": 4 if end else 3}
    assert report.first == {"malformed CSV row": f"{path}:3"}


@pytest.mark.parametrize("key", ["text_key", "label_key"])
@pytest.mark.parametrize(("name", "content"), [("a.jsonl", JSON), ("a.csv", CSV)])
def test_an_unknown_key_names_those_that_exist(tmp_path, name, content, key):
    with pytest.raises(InputError, match="'stars'.*exist: .*overall") as error:
        read(write(tmp_path / name, content), **{key: "stars"})
    assert "reviewText" in str(error.value)


def test_no_known_text_key_names_those_that_exist(tmp_path):
    with pytest.raises(InputError, match="exist: a, b; .*--text-key"):
        read(write(tmp_path / "a.jsonl", '{"a": "x", "b": 1}\n'))


def test_a_key_may_be_missing_from_the_first_row(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"overall": 1}\n' + JSON)
    examples, report = read(path, text_key="reviewText")
    assert len(examples) == 2 and report.skipped == {"row without 'reviewText'": 1}


def test_paths_that_cannot_be_read(tmp_path):
    for path, why in (
        (tmp_path / "none.csv", "no such file"),
        (write(tmp_path / "a.xml", "<x>\n</x>"), "markup .*--format text"),
        (write(tmp_path / "empty.csv", ""), "empty"),
    ):
        # At once, before anything is read.
        with pytest.raises(InputError, match=why) as error:
            read_examples(str(path), report=ReadReport())
        assert str(path) in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path):
    path = write(tmp_path / "a.csv", CSV)
    path.chmod(0)
    with pytest.raises(InputError, match="not readable"):
        read(path)


def test_a_json_array(tmp_path):
    path = write(tmp_path / "a.json", json.dumps(ROWS))
    assert read(path, label_key="overall")[0] == EXPECTED


@pytest.mark.parametrize("damage", ["truncated", "corrupted"])
def test_a_damaged_archive_is_named(tmp_path, damage):
    lines = "".join(
        json.dumps({"text": f"{i * 7919}{i**3}"}) + "\n" for i in range(5000)
    )
    path = write(tmp_path / "a.jsonl.gz", lines)
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        data = data[: len(data) // 2]
    else:
        data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with pytest.raises(InputError, match="a.jsonl.gz: damaged gzip"):
        read(path)


def test_a_csv_header_that_is_not_utf8(tmp_path):
    with pytest.raises(InputError, match="header is not UTF-8.*'text,café'.*cp1252"):
        read(write(tmp_path / "a.csv", "text,café\na,b\n".encode("cp1252")))


def test_lines_that_are_too_long_are_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr("sdjax.data.formats.lines.MAX_LINE_BYTES", 100)
    path = write(tmp_path / "a.txt", "short\n" + "x" * 1000 + "\nlast\n")
    examples, report = read(path)
    assert [e.text for e in examples] == ["short", "last"]
    assert report.first == {"line longer than 64 MiB": f"{path}:2"}


def test_the_check_refuses_more_than_the_allowed_fraction():
    report = ReadReport(read=200)
    report.skip("empty text", "a.csv:3")
    report.skip("empty text", "a.csv:9")
    report.check()
    report.skip("malformed JSON", "a.csv:10")
    with pytest.raises(InputError, match=r"1\.5% .* 1\.0% .*\(first: a.csv:3\)"):
        report.check()
    report.check(max_bad_fraction=0.02)


def test_the_check_refuses_when_nothing_is_left():
    with pytest.raises(InputError, match="no usable text"):
        ReadReport().check(1.0)
    report = ReadReport(read=1)
    report.skip("empty text", "a.csv:2")
    with pytest.raises(InputError, match="a.csv:2"):
        report.check(1.0)


def test_counted_moves_the_report():
    report = ReadReport()
    assert list(counted(iter(EXPECTED), 2, report)) == EXPECTED
    assert (report.read, report.position, report.total) == (2, 2, 2)
    assert report.unit == "examples"


def test_a_description_changes_with_the_content(tmp_path):
    path = write(tmp_path / "a.csv", CSV)
    first = open_input(str(path), label_key="overall").describe()
    assert first == open_input(str(path), label_key="overall").describe()
    assert first["name"] == "a.csv" and first["label_key"] == "overall"
    write(path, CSV.replace("Good", "Fine"))
    assert open_input(str(path), label_key="overall").describe() != first


def test_position_follows_the_compressed_bytes(tmp_path):
    lines = [json.dumps({"text": f"{i * 7919}{i**5}"}) for i in range(100_000)]
    path = write(tmp_path / "a.jsonl.gz", "\n".join(lines))
    report = ReadReport()
    positions = []
    for example in read_examples(str(path), report=report):
        if example.row % 10_000 == 9_999:
            positions.append(report.position / report.total)
    assert positions == sorted(positions)
    assert 0.2 < positions[4] < 0.9 and positions[-1] <= 1


@pytest.fixture
def tfds_mock(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=5, data_dir=str(tmp_path)):
        yield


def test_tfds(tfds_mock):
    report = ReadReport()
    examples = list(
        read_examples("tfds:imdb_reviews:test", report=report, label_key="label")
    )
    assert [e.row for e in examples] == list(range(5))
    assert all(isinstance(e.text, str) and e.label in (0, 1) for e in examples)
    assert (report.position, report.total, report.unit) == (5, 5, "examples")


@pytest.mark.parametrize(
    ("source", "text_key"),
    [
        ("tfds:yelp_polarity_reviews", "text"),
        ("tfds:glue/sst2:validation", "sentence"),  # not registered until imported
    ],
)
def test_other_datasets_of_tfds(tfds_mock, source, text_key):
    opened = open_input(source, label_key="label").parts[0]
    assert opened.keys.text == (text_key,)
    assert opened.keys.place == source.removeprefix("tfds:").replace(":", "/") + (
        "" if source.endswith("validation") else "/train"
    )
    examples = list(read_examples(source, report=ReadReport(), label_key="label"))
    assert len(examples) == 5 and all(isinstance(e.text, str) for e in examples)


def test_tfds_unknown_key(tfds_mock):
    with pytest.raises(InputError, match="'stars'.*exist: label, text"):
        list(read_examples("tfds:imdb_reviews", report=ReadReport(), label_key="stars"))


@pytest.mark.parametrize("source", ["tfds:", "tfds:no_such_dataset"])
def test_tfds_not_available(source):
    with pytest.raises(InputError, match="tfds:"):
        read_examples(source, report=ReadReport())
