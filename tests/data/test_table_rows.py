"""Rows of a table keep their lines, however the file is cut into blocks."""

import pytest

from sdjax.data.formats import lines
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import open_input

TABLE = (
    b"id,text,label\n"
    b"1,plain,1\n"
    b'2,"over\ntwo lines",0\n'
    b"\n"
    b"3,caf\xe9,1\n"
    b'4,"a quote ""within""",1\n'
    b"5,too,many,fields\n"
    b'6,"bad in its \xff\nfirst line",0\n'
    b'7,"closed" badly,0\n'
    b"8,good again,1\n"
    b"9,separator \xe2\x80\xa8 of lines and \x0b,0"
)
ROWS = [
    (2, {"text": "plain", "label": "1"}),
    (3, {"text": "over\ntwo lines", "label": "0"}),
    (7, {"text": 'a quote "within"', "label": "1"}),
    (12, {"text": "good again", "label": "1"}),
    (13, {"text": "separator \u2028 of lines and \x0b", "label": "0"}),
]


@pytest.mark.parametrize("size", [1, 7, 40, 10**6])
def test_every_row_and_every_fault_has_its_line(tmp_path, monkeypatch, size):
    path = tmp_path / "a.csv"
    path.write_bytes(TABLE)
    (part,) = open_input(str(path), label_key="label").parts
    monkeypatch.setattr(lines, "CHUNK_BYTES", size)
    report = ReadReport()
    assert [record[1:] for record in part.records(report)] == ROWS
    assert report.read == 10
    bad, uneven, malformed = (
        "non-UTF-8 bytes",
        "CSV row with another number of columns than the header",
        "malformed CSV row",
    )
    assert report.first == {
        bad: f"{path}:6",
        uneven: f"{path}:8",
        malformed: f"{path}:11",
    }
    assert report.skipped == {bad: 3, uneven: 1, malformed: 1}
