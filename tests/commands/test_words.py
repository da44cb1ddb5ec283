"""Labels as words and odd files, through all commands that read texts."""

import csv
import json

import pytest
from fixtures_corpus import files
from fixtures_run import assert_refused

from sdjax.data.corpus import Corpus
from sdjax.features import file as feature_file
from sdjax.model.classifier import Classifier

WORDS = {"0": "bad", "1": "good"}


@pytest.fixture(scope="module")
def worded(tiny_run, tmp_path_factory):
    """The labelled texts as a spreadsheet writes them, with words for labels."""
    folder, paths = tmp_path_factory.mktemp("worded"), {}
    for split, path in tiny_run.texts.items():
        with open(path, newline="") as file:
            rows = [(r["sentence"], WORDS[r["label"]]) for r in csv.DictReader(file)]
        paths[split] = folder / f"{split}.csv"
        with open(paths[split], "w", newline="", encoding="utf-16") as file:
            csv.writer(file, delimiter=";").writerows([("review", "mood"), *rows])
    return paths


def test_words_travel_from_the_file_to_the_classifier(
    worded, tiny_run, command, tmp_path
):
    made = {}
    for split, path in worded.items():
        made[split] = tmp_path / f"{split}.npz"
        done = command.featurize(
            *("--checkpoint", tiny_run.workdir, "--input", path),
            *("--label-key", "mood", "--output", made[split]),
        )
        assert done.status == 0, done.err
        assert "classes of 'mood': 0 bad, 1 good (alphabetical" in done.err
        assert feature_file.load(made[split]).metadata["classes"] == ["bad", "good"]
    given = [x for split, path in made.items() for x in (f"--{split}", path)]
    options = ("--out", tmp_path / "report", "--draws", 0, "--one-checkpoint")
    done = command.sdjax("probe", *given, *options, "--workers", 1)
    assert done.status == 0, done.err
    classifier = Classifier.load(tmp_path / "report" / "classifier")
    assert classifier.classes == ("bad", "good")
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["also_in_test"] == {"train": 0, "valid": 0}
    done = command.sdjax(
        *("classify", tmp_path / "report" / "classifier", "--input", worded["test"]),
        *("--label-key", "mood", "--output", tmp_path / "scored.jsonl"),
    )
    assert done.status == 0, done.err
    rows = [json.loads(x) for x in (tmp_path / "scored.jsonl").read_text().splitlines()]
    assert {row["mood"] for row in rows} == {"bad", "good"}
    right = sum(row["mood"] == row["called"] for row in rows)
    assert f"accuracy {right / len(rows):.2%} of {len(rows)} labelled texts" in done.out
    accuracy = report["probe"]["scores"]["test"]["accuracy"]
    assert right / len(rows) == pytest.approx(accuracy)


def test_finetune_warns_of_overlap_and_leaves_it_out(
    worded, tiny_run, command, tmp_path
):
    both = ("--train", f"{worded['train'].parent}/t*.csv", "--valid", worded["valid"])
    arguments = ("finetune", tiny_run.workdir, *both, "--test", worded["test"])
    arguments += ("--label-key", "mood", "--epochs", 1, "--batch-size", 16)
    arguments += ("--max-bytes", 16)
    done = command.sdjax(*arguments, "--out", tmp_path / "a")
    assert done.status == 0, done.err
    assert "texts of test also occur in train" in done.err
    assert "bad " in done.out and "good " in done.out
    done = command.sdjax(*arguments, "--out", tmp_path / "b", "--drop-overlap")
    assert done.status == 0, done.err
    assert "texts dropped, also in test" in done.err


def test_a_corpus_keeps_the_names(worded, command, tmp_path):
    arguments = ("prepare", worded["train"], "--label-key", "mood", "--shards", "1/1/1")
    done = command.sdjax(*arguments, "--out", tmp_path / "corpus")
    assert done.status == 0, done.err
    assert Corpus.open(tmp_path / "corpus").classes == ("bad", "good")
    again = command.sdjax(*arguments, "--out", tmp_path / "corpus")
    assert "nothing to do" in again.err
    other = command.sdjax(
        *arguments, "--classes", "good,bad", "--out", tmp_path / "corpus"
    )
    assert_refused(other, "another corpus", "classes")


def test_a_corpus_does_not_depend_on_the_number_of_workers(command, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    texts = [f"review number {i} of many" for i in range(90)]
    rows = [{"text": text, "label": i % 2} for i, text in enumerate(texts)]
    (source / "array.json").write_text(json.dumps(rows[:30], indent=1))
    (source / "lines.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    table = "".join(f"{r['text']};{r['label']}\r" for r in rows[20:60])
    (source / "old.csv").write_text("text;label\r" + table)
    (source / "plain.tsv").write_bytes(
        ("text\tlabel\n" + table.replace(";", "\t").replace("\r", "\n")).encode(
            "utf-16"
        )
    )
    labelled = "".join(f"__label__{r['label']} {r['text']}\n" for r in rows)
    (source / "fast.txt").write_text(labelled)
    made = []
    for workers in (1, 3):
        out = tmp_path / f"corpus-{workers}"
        done = command.sdjax(
            *("prepare", source, "--label-key", "label", "--shards", "1/1/1"),
            *("--workers", workers, "--out", out),
        )
        assert done.status == 0, done.err
        assert "read 290; skipped 0" in done.out
        made.append(files(out))
    assert made[0] == made[1]


def test_a_letter_of_no_amino_acid_is_named(command, tmp_path):
    letters = "ACDEFGHIKLMNPQRSTVWY"
    entries = [f">P{i}\nmk{letters[i % 20]}{letters[i // 20]}v*" for i in range(150)]
    entries[4] = ">P4\nmk1v"
    path = tmp_path / "a.fasta"
    path.write_text("\n".join(entries) + "\n")
    arguments = ("prepare", path, "--codec", "protein", "--shards", "1/1/1")
    done = command.sdjax(*arguments, "--out", tmp_path / "corpus")
    assert done.status == 0, done.err
    assert f"1 letter of no amino acid (first: {path}:9: letter '1' at p" in done.out


def test_what_a_corpus_is_says_the_classes(worded, command, tmp_path):
    arguments = ("prepare", worded["train"], "--label-key", "mood", "--shards", "1/1/1")
    assert command.sdjax(*arguments, "--out", tmp_path / "corpus").status == 0
    shown = command.sdjax("corpus", "show", tmp_path / "corpus")
    assert "classes              0 bad, 1 good" in shown.out
