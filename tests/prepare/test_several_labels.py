"""A corpus that keeps several labels of a review."""

import json
import random

import pytest
from fixtures_corpus import files
from fixtures_run import assert_refused

from sdjax.data.corpus import SPLITS, Corpus
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import Example, counted
from sdjax.errors import Damaged
from sdjax.features import file as feature_file
from sdjax.integrity import sealed
from sdjax.prepare.pipeline import prepare

MOODS = ("bad", "good")
ROWS = [
    {"text": f"review {i}.", "mood": MOODS[i % 2], "stars": i % 5} for i in range(120)
]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The rows, and the first forty again with the other mood and fewer stars."""
    path = tmp_path_factory.mktemp("several") / "rows.jsonl"
    again = [
        row | {"mood": MOODS[row["mood"] == "bad"], "stars": row["stars"] - 1}
        for row in ROWS[:40]
    ]
    lines = [json.dumps(row) for row in [*ROWS, *again]]
    path.write_text("\n".join([*lines, '{"text": "no stars", "mood": "good"}']) + "\n")
    return path


@pytest.fixture
def several(source, command, tmp_path):
    """Prepare the rows with both labels."""
    done = command.sdjax(*arguments(source, "mood,stars"), "--out", tmp_path / "c")
    assert done.status == 0, done.err
    assert "label missing or not a number (first: " in done.out
    assert f"{source}:161" in done.out
    return tmp_path / "c"


def arguments(source, keys, *more):
    asked = ("--label-key", keys) if keys else ()
    return ("prepare", source, *asked, "--shards", "3/1/1", *more)


def labels(corpus, *keys):
    return {
        example.text: example.label
        for split in SPLITS
        for example in corpus.examples(split, *keys)
    }


def expected():
    """Of equal reviews the first label is the smallest, then the second one."""
    found = {}
    for i, row in enumerate(ROWS):
        mood, stars = float(MOODS.index(row["mood"])), float(row["stars"])
        if i < 40:
            mood, stars = min((mood, stars), (1 - mood, stars - 1))
        found[row["text"]] = mood, stars
    return found


def test_all_labels_come_back_with_the_names_of_each(several):
    corpus = Corpus.open(several)
    assert corpus.manifest["format_version"] == 3
    assert corpus.label_keys == ("mood", "stars")
    assert corpus.classes_of("mood") == MOODS
    assert corpus.classes_of("stars") is None and corpus.classes is None
    corpus.verify()
    assert labels(corpus) == expected()
    stars = {text: both[1] for text, both in expected().items()}
    assert labels(corpus, ("stars",)) == stars
    turned = {text: both[::-1] for text, both in expected().items()}
    assert labels(corpus, ("stars", "mood")) == turned


def test_the_order_of_the_rows_changes_nothing(several, source, command, tmp_path):
    lines = source.read_text().splitlines()
    shuffled = random.Random(0).sample(lines[:-1], len(lines) - 1) + lines[-1:]
    again = tmp_path / source.name
    again.write_text("\n".join(shuffled) + "\n")
    given = arguments(again, "mood,stars", "--workers", 2)
    assert command.sdjax(*given, "--out", tmp_path / "d").status == 0
    first, second = files(several), files(tmp_path / "d")
    first.pop("manifest.json"), second.pop("manifest.json")
    assert first == second


def test_contiguous_keeps_the_labels_of_the_first(source, command, tmp_path):
    given = arguments(source, "mood,stars", "--split", "contiguous")
    assert command.sdjax(*given, "--out", tmp_path / "c").status == 0
    found = labels(Corpus.open(tmp_path / "c"))
    assert found == {
        row["text"]: (float(MOODS.index(row["mood"])), float(row["stars"]))
        for row in ROWS
    }


def test_one_label_is_the_corpus_of_older_versions(source, command, tmp_path):
    for name, keys in (("one", "stars"), ("none", None)):
        done = command.sdjax(*arguments(source, keys), "--out", tmp_path / name)
        assert done.status == 0, done.err
        assert Corpus.open(tmp_path / name).manifest["format_version"] == 2
    other = command.sdjax(*arguments(source, "mood,stars"), "--out", tmp_path / "one")
    assert_refused(other, "another corpus", "label_key")


def test_corpus_show_says_which_labels(several, command):
    shown = command.sdjax("corpus", "show", several).out
    assert "labels               mood, stars" in shown
    assert "classes              of mood: 0 bad, 1 good" in shown


@pytest.mark.parametrize(
    ("given", "keys", "classes"),
    [
        (["mood"], ["mood"], list(MOODS)),
        (["stars"], ["stars"], None),
        (["stars,mood"], ["stars", "mood"], None),
        ([], ["mood", "stars"], None),
    ],
)
def test_features_of_a_corpus_take_the_key(
    several, tiny_run, command, tmp_path, given, keys, classes
):
    made = tmp_path / "f.npz"
    done = command.featurize(
        *("--checkpoint", tiny_run.workdir, "--input", several, "--split", "valid"),
        *("--output", made, *(x for key in given for x in ("--label-key", key))),
    )
    assert done.status == 0, done.err
    features, corpus = feature_file.load(made), Corpus.open(several)
    assert features.metadata["label_keys"] == keys
    assert features.metadata.get("classes") == classes
    wanted = [example.label for example in corpus.examples("valid", keys)]
    assert features.labels.tolist() == [
        list(label) if isinstance(label, tuple) else label for label in wanted
    ]


def test_a_label_that_a_corpus_has_not(several, tiny_run, command, tmp_path):
    refused = command.featurize(
        *("--checkpoint", tiny_run.workdir, "--input", several, "--split", "valid"),
        *("--label-key", "joy", "--output", tmp_path / "f.npz"),
    )
    assert_refused(refused, "--label-key joy", "mood, stars")


def test_examples_of_a_program_may_have_several(tmp_path):
    examples = [Example(f"text {i}", (i % 2, i), i) for i in range(30)]
    report = ReadReport()
    corpus = prepare(
        counted(examples, len(examples), report),
        tmp_path / "c",
        report=report,
        source={"label_key": ["odd", "number"]},
        shards=(1, 1, 1),
        progress=False,
    )
    assert labels(corpus) == {e.text: e.label for e in examples}


@pytest.mark.parametrize(
    ("label_key", "classes"),
    [
        (["mood", 7], {"mood": list(MOODS)}),
        (["mood", "stars"], list(MOODS)),
        (["mood", "stars"], {"joy": list(MOODS)}),
        (["mood", "stars"], {"mood": "bad"}),
        ("mood", {"mood": list(MOODS)}),
    ],
)
def test_a_manifest_that_says_something_else(several, label_key, classes):
    path = several / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest.pop("xxh3_128")
    manifest["request"]["source"]["label_key"] = label_key
    manifest["classes"] = classes
    path.write_text(json.dumps(sealed(manifest)))
    with pytest.raises(Damaged, match="prepare the corpus again"):
        Corpus.open(several)


def test_a_manifest_of_another_number_of_labels(several):
    path = several / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest.pop("xxh3_128")
    manifest["request"]["source"]["label_key"] = "mood"
    manifest["classes"] = None
    path.write_text(json.dumps(sealed(manifest)))
    with pytest.raises(Damaged, match="a label of each review"):
        list(Corpus.open(several).examples("valid"))
