"""From names to files: folders, patterns, archives, a pipe."""

import io
import os
import sys
import tarfile
import zipfile
from types import SimpleNamespace

import pytest

from sdjax.data import listing
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import open_input
from sdjax.errors import InputError


def texts(*names, **keys):
    opened = open_input(list(map(str, names)), **keys)
    return [e.text for e in opened.examples(ReadReport())]


@pytest.fixture
def reviews(tmp_path):
    """The layout of aclImdb."""
    for folder in ("train/pos", "train/neg", "train/unsup", "test/pos", "test/neg"):
        (tmp_path / "aclImdb" / folder).mkdir(parents=True)
        for i in range(3):
            path = tmp_path / "aclImdb" / folder / f"{i}_{8 if 'pos' in folder else 2}"
            path.with_suffix(".txt").write_text(f"{folder} {i}\nSecond line.")
    (tmp_path / "aclImdb/train/urls_pos.txt").write_text("http://example.org\n")
    return tmp_path / "aclImdb"


def test_reviews_in_folders(reviews):
    opened = open_input(str(reviews / "train"), label_key="label", id_key="id")
    report = ReadReport()
    examples = list(opened.examples(report))
    assert opened.classes == ("neg", "pos")
    assert [e.label for e in examples] == [0] * 3 + [1] * 3
    assert examples[0].text == "train/neg 0\nSecond line."
    assert [e.id for e in examples] == [f"{x}/{i}_{s}" for x, s in ND for i in range(3)]
    assert report.left_out == {"in unsup, without a label": 3}
    report.check()  # that is no fault of the input
    stars = open_input(str(reviews / "train"), label_key="stars")
    assert {e.label for e in stars.examples(ReadReport())} == {2, 8}
    assert len(texts(reviews / "train")) == 9


ND = (("neg", 2), ("pos", 8))


def test_a_folder_of_several_data_sets_names_them(reviews):
    with pytest.raises(InputError, match="holds test, train.*give one, as .*/test"):
        open_input(str(reviews))


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_reviews_in_an_archive(reviews, tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(reviews.rglob("*.txt")):
                archive.write(file, file.relative_to(tmp_path))
    else:
        with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
            archive.add(reviews, "aclImdb")
    with pytest.raises(InputError, match=r"16 files.*say which, as .*::aclImdb/test$"):
        open_input(str(path))
    inside = sorted(texts(f"{path}::aclImdb/train", label_key="label"))
    assert inside == sorted(texts(reviews / "train", label_key="label"))
    one = f"{path}::aclImdb/train/pos/1_8.txt"
    assert texts(one) == ["train/pos 1", "Second line."]
    with pytest.raises(InputError, match="no such file in the archive"):
        open_input(f"{path}::aclImdb/none")


def test_a_member_is_never_written_by_its_own_path(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    with tarfile.open(inside / "a.tar", "w") as archive:
        entry = tarfile.TarInfo("../../escaped.txt")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"texts"))
    assert texts(inside / "a.tar") == ["texts"]
    assert [p.name for p in tmp_path.rglob("*")] == ["inside", "a.tar"]


def test_one_file_with_data_needs_no_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("README.md", "about")
        archive.writestr("__MACOSX/._a.csv", "x")
        archive.writestr("our reviews.csv", "text,label\nhello there,1\n")
    assert texts(tmp_path / "a.zip") == ["hello there"]


def test_every_file_below_a_folder(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/one.txt").write_text("one\n")
    (tmp_path / "a/b/two.JSONL").write_text('{"text": "two"}\n')
    (tmp_path / "a/.hidden.txt").write_text("never\n")
    (tmp_path / "a/weights.bin").write_text("never\n")
    opened = open_input(str(tmp_path / "a"))
    rows = [(e.text, e.row) for e in opened.examples(ReadReport())]
    assert rows == [("two", 0), ("one", 1)]
    assert "1 other files left out (weights.bin)" in opened.notes[0]
    assert texts(f"{tmp_path}/a/**") == texts(tmp_path / "a/one.txt") + [
        *texts(tmp_path / "a/b/two.JSONL")
    ] or sorted(texts(f"{tmp_path}/a/*.txt")) == ["one"]


def test_a_file_by_two_spellings(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\n")
    (tmp_path / "link.txt").symlink_to(path)
    for other in (tmp_path / "." / ".." / tmp_path.name / "a.txt", "link.txt"):
        with pytest.raises(InputError, match="given twice, also as"):
            open_input([str(path), os.path.join(tmp_path, other)])


def test_each_of_many_files_is_looked_at_once(tmp_path, monkeypatch):
    for i in range(300):
        (tmp_path / f"{i}.txt").write_text("x")
    looked, check = [], listing.check_readable
    monkeypatch.setattr(
        listing, "check_readable", lambda path: looked.append(path) or check(path)
    )
    found, _ = listing.expand([f"{tmp_path}/*.txt"])
    assert len(found) == len(looked) == 300


def test_standard_input(monkeypatch):
    stream = io.BytesIO(b"review;label\nfine;1\nbad;0\n")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    opened = open_input("-", label_key="label")
    examples = list(opened.examples(ReadReport()))
    assert [(e.text, e.label) for e in examples] == [("fine", 1), ("bad", 0)]
    assert opened.describe()["name"] == "standard input"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO()))
    with pytest.raises(InputError, match="standard input: is empty"):
        open_input("-")
