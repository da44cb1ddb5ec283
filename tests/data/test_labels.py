"""Labels as words: the order of the classes, maps of them, and what is left out."""

import csv
import json

import pytest

from sdjax.data.formats.options import Options
from sdjax.data.labels import Labels, as_label, word_of
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import open_input
from sdjax.errors import InputError


@pytest.fixture
def read(tmp_path):
    """Write labelled texts as CSV; read the labels, the report, the input."""

    def run(labels, **options):
        path = tmp_path / "a.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(
                [("text", "label"), *((f"text {i}", y) for i, y in enumerate(labels))]
            )
        opened = open_input(str(path), label_key="label", options=Options(**options))
        report = ReadReport()
        return [e.label for e in opened.examples(report)], report, opened

    return run


WORDS = ["positive"] * 150 + ["negative", "neutral", ""]


def test_words_are_numbered_by_the_alphabet_over_the_whole_file(read):
    """The first rows have one class alone."""
    labels, report, opened = read(WORDS)
    assert labels == [2.0] * 150 + [0.0, 1.0]
    assert opened.classes == ("negative", "neutral", "positive")
    assert "0 negative, 1 neutral, 2 positive (alphabetical" in opened.notes[-1]
    assert report.skipped == {"label missing or not a number": 1}
    assert opened.describe()["classes"] == ["negative", "neutral", "positive"]


def test_classes_that_are_given(read):
    labels, report, _ = read(WORDS, classes=("positive", "negative"))
    assert labels == [0.0] * 150 + [1.0]
    assert report.skipped["label that is none of the classes"] == 1
    assert read([0, 1, 2], classes=("no", "yes"))[0] == [0, 1]


@pytest.mark.parametrize("labels", [["True", "False"], ["TRUE", "false"]])
def test_true_and_false(read, labels):
    assert read(labels)[0] == [1, 0]
    assert read(labels)[2].classes == ("false", "true")


def test_stars_become_classes(read):
    pairs = (("1", "neg"), ("2", "neg"), ("4", "pos"), ("5", "pos"))
    labels, report, opened = read([1, "2.0", 3, 4, 5.0, 3], label_map=pairs)
    assert labels == [0, 0, 1, 1] and opened.classes == ("neg", "pos")
    assert report.left_out.total() == 2 and not report.skipped
    report.check()
    assert "left out 2 with a label that --label-map does not name" in report.summary()


def test_more_words_than_classes(read):
    with pytest.raises(InputError, match="more than 100 different labels"):
        read([f"word {i}" for i in range(200)])


def test_words_in_one_file_and_booleans_in_another(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a", "label": True}) + "\n")
    (tmp_path / "b.csv").write_text("text,label\nb,false\n")
    opened = open_input([f"{tmp_path}/a.jsonl", f"{tmp_path}/b.csv"], label_key="label")
    assert [e.label for e in opened.examples(ReadReport())] == [1, 0]


def test_names_that_a_source_stores():
    labels = Labels(("1", "2"), stored=("1", "2"))
    assert [labels.read(x) for x in (0, 1, -1)] == [0, 1, -1]
    assert labels.read(7) == "label that is none of the classes"
    other = Labels(("pos", "neg"), stored=("neg", "pos"))
    assert [other.read(x) for x in (0, 1)] == [1, 0]


def test_a_class_list_without_labels(tmp_path):
    (tmp_path / "a.txt").write_text("a\n")
    with pytest.raises(InputError, match="--classes is given without --label-key"):
        open_input(str(tmp_path / "a.txt"), options=Options(classes=("a", "b")))


def test_a_label_as_a_word():
    same = (5, 5.0, "5", " 5.00 ")
    assert {word_of(value) for value in same} == {"5"}
    assert word_of(float("nan")) is None and word_of("  ") is None
    assert word_of([1]) is None and as_label([1]) is None


@pytest.fixture
def arrow(tmp_path):
    """Files and folders as `datasets` writes them, with a ClassLabel."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    feature = {"names": ["pos", "neg"], "_type": "ClassLabel"}
    features = {"text": {"dtype": "string", "_type": "Value"}, "label": feature}
    told = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"text": ["a", "b", "c"], "label": [0, 1, 1]})
    table = table.replace_schema_metadata(told)
    pq.write_table(table, tmp_path / "a.parquet")
    split = tmp_path / "saved" / "train"
    split.mkdir(parents=True)
    (tmp_path / "saved/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    files = [{"filename": f"data-0000{i}-of-00002.arrow"} for i in range(2)]
    (split / "state.json").write_text(json.dumps({"_data_files": files}))
    for file, writer in zip(files, (pa.ipc.new_stream, pa.ipc.new_file), strict=True):
        with writer(str(split / file["filename"]), table.schema) as out:
            out.write_table(table)
    return tmp_path


@pytest.mark.parametrize("name", ["a.parquet", "saved/train", "saved/train/*1-*.arrow"])
def test_a_class_label_names_the_classes(arrow, name):
    opened = open_input(f"{arrow}/{name}", label_key="label")
    examples = list(opened.examples(ReadReport()))
    count = 2 if name == "saved/train" else 1
    assert [(e.text, e.label) for e in examples] == [
        ("a", 0),
        ("b", 1),
        ("c", 1),
    ] * count
    assert opened.classes == ("pos", "neg")


def test_saved_splits_are_named(arrow):
    with pytest.raises(InputError, match="splits train, test; give one.*saved/train"):
        open_input(f"{arrow}/saved")


def test_a_dataset_of_hugging_face(arrow):
    pytest.importorskip("datasets")
    folder = arrow / "local"
    folder.mkdir()
    (arrow / "a.parquet").rename(folder / "train.parquet")
    opened = open_input(f"hf:{folder}:train", label_key="label")
    examples = list(opened.examples(ReadReport()))
    assert [(e.text, e.label) for e in examples] == [("a", 0), ("b", 1), ("c", 1)]
    assert opened.classes == ("pos", "neg")
