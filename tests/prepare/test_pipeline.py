"""The content of a prepared corpus: which reviews, in which shard, in which order."""

import hashlib
import json
import os
import random

import numpy as np
import pytest
from fixtures_corpus import EXAMPLES, files, make, texts
from older import without_digests

from sdjax.data.corpus import SPLITS, Corpus
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import Example, counted
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.prepare import blocks, shards
from sdjax.prepare.pipeline import prepare


def test_every_review_is_in_one_shard_once(tmp_path):
    corpus = make(tmp_path / "c")
    assert [len(corpus.shards[split]) for split in SPLITS] == [5, 1, 2]
    found = [e for split in SPLITS for e in corpus.examples(split)]
    assert sorted((e.text, e.label) for e in found) == sorted(
        (e.text, e.label) for e in EXAMPLES
    )
    assert [e.row for e in corpus.examples("test")] == list(
        range(sum(shard.reviews for shard in corpus.shards["test"]))
    )


def test_a_shard_is_the_raw_bytes_of_its_reviews(tmp_path):
    corpus = make(tmp_path / "c")
    shard = corpus.shards["train"][3]
    data = corpus.read("train", 3)
    assert type(data) is np.ndarray and data.dtype == np.uint8
    assert shard.path == tmp_path / "c/train/00003.bin"
    assert data.tobytes() == shard.path.read_bytes()
    assert data.size == shard.bytes
    offsets = np.load(shard.path.with_suffix(".offsets.npy"))
    labels = np.load(shard.path.with_suffix(".labels.npy"))
    assert (offsets.dtype, labels.dtype) == (np.int64, np.float32)
    assert offsets[0] == 0 and offsets[-1] == shard.bytes
    assert len(offsets) - 1 == len(labels) == shard.reviews
    for start in offsets[:-1]:
        assert data[start : start + 9].tobytes() == b"\n Review "


def test_the_corpus_depends_on_the_set_of_reviews_not_their_order(tmp_path):
    shuffled = random.Random(0).sample(EXAMPLES, len(EXAMPLES))
    first = make(tmp_path / "a")
    second = make(tmp_path / "b", shuffled)
    assert first.fingerprint == second.fingerprint
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_reviews_are_shuffled_by_the_seed(tmp_path):
    first, second = make(tmp_path / "a"), make(tmp_path / "b", seed=1)
    assert first.fingerprint != second.fingerprint
    assert set(texts(first)["valid"]) != set(texts(second)["valid"])
    order = [int(text.split()[-1][:-1]) for text in texts(first)["train"]]
    assert abs(np.corrcoef(order, range(len(order)))[0, 1]) < 0.2


@pytest.mark.parametrize("size", [1, 7, 10**9])
def test_the_sizes_of_blocks_and_groups_do_not_change_the_corpus(
    tmp_path, monkeypatch, size
):
    options = {"split": "contiguous", "dedup": "none"}
    expected = [make(tmp_path / "a"), make(tmp_path / "b", **options)]
    monkeypatch.setattr(blocks, "_EXAMPLES", size)
    monkeypatch.setattr(shards, "_GROUP_BYTES", 30 * size)
    monkeypatch.setattr(shards, "_MOST_SHARDS", 2)
    found = [make(tmp_path / "c"), make(tmp_path / "d", **options)]
    assert [c.manifest for c in found] == [c.manifest for c in expected]
    assert [files(tmp_path / n) for n in "cd"] == [files(tmp_path / n) for n in "ab"]


def test_the_number_of_workers_does_not_change_the_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "_EXAMPLES", 50)
    make(tmp_path / "a")
    make(tmp_path / "b", workers=2)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    with pytest.raises(InputError, match="0 workers"):
        make(tmp_path / "c", workers=0)


def test_contiguous_holds_out_whole_parts_of_the_input(tmp_path):
    """There are eight parts of fifty reviews: five train, one valid, two test."""
    corpus = make(tmp_path / "a", split="contiguous")
    assert corpus.manifest["split_rule"] == "contiguous"
    found = {
        split: sorted(int(text.split()[-1][:-1]) for text in of_split)
        for split, of_split in texts(corpus).items()
    }
    assert sorted(sum(found.values(), [])) == list(range(400))
    parts = {split: sorted({n // 50 for n in found[split]}) for split in SPLITS}
    assert [len(parts[split]) for split in SPLITS] == [5, 1, 2]
    assert [len(found[split]) for split in SPLITS] == [250, 50, 100]
    assert [len(corpus.shards[split]) for split in SPLITS] == [5, 1, 2]
    # Shuffled within the split, and other parts for another seed.
    (order,) = ([int(t.split()[-1][:-1]) for t in texts(corpus)["valid"]],)
    assert abs(np.corrcoef(order, range(len(order)))[0, 1]) < 0.4
    seeds = [make(tmp_path / str(s), split="contiguous", seed=s) for s in range(1, 4)]
    assert len({tuple(sorted(texts(c)["valid"])) for c in [corpus, *seeds]}) > 1


def test_contiguous_keeps_the_first_of_duplicates(tmp_path):
    again = [e._replace(label=-1.0) for e in EXAMPLES[:100]]
    corpus = make(tmp_path / "a", EXAMPLES + again, split="contiguous")
    assert corpus.manifest["duplicates"] == 100
    found = [e for split in SPLITS for e in corpus.examples(split)]
    assert sorted((e.text, e.label) for e in found) == sorted(
        (e.text, e.label) for e in EXAMPLES
    )


def test_kept_duplicates_are_not_neighbours(tmp_path):
    rules = {"dedup": "none", "shards": (1, 1, 1)}
    corpus = make(tmp_path / "a", EXAMPLES * 3, **rules)
    assert corpus.manifest["duplicates"] == 0
    assert corpus.manifest["reviews"] == 1200
    shuffled = random.Random(0).sample(EXAMPLES * 3, 1200)
    assert make(tmp_path / "b", shuffled, **rules).fingerprint == corpus.fingerprint
    neighbours = same = 0
    for of_split in texts(corpus).values():
        neighbours += len(of_split) - 1
        same += sum(a == b for a, b in zip(of_split, of_split[1:], strict=False))
    assert same < 0.1 * neighbours


@pytest.mark.parametrize("rule", ["split", "dedup"])
def test_an_unknown_rule_is_refused(tmp_path, rule):
    with pytest.raises(InputError, match=f"no {rule} rule 'maybe'"):
        make(tmp_path / "a", **{rule: "maybe"})


def test_a_corpus_of_a_version_without_rules_is_recognised(tmp_path):
    corpus = make(tmp_path / "c")
    manifest = corpus.manifest
    for rule in ("split", "dedup"):
        del manifest["request"][rule]
    (tmp_path / "c/manifest.json").write_text(json.dumps(manifest))
    without_digests(tmp_path / "c/manifest.json")
    assert make(tmp_path / "c").fingerprint == corpus.fingerprint
    with pytest.raises(InputError, match="dedup is 'exact' there and 'none' here"):
        make(tmp_path / "c", dedup="none")


def test_exact_duplicates_are_dropped_and_counted(tmp_path):
    again = [Example(f" {e.text}\n", e.label, e.row) for e in EXAMPLES[:30]]
    corpus = make(tmp_path / "b", EXAMPLES + again + again)
    assert corpus.manifest["duplicates"] == 60
    assert corpus.fingerprint == make(tmp_path / "a").fingerprint


def test_among_duplicates_the_smallest_label_is_kept(tmp_path):
    text = EXAMPLES[7].text
    others = [Example(text, label, 0) for label in (None, 0.5, 3.0)]
    for name, examples in (("a", EXAMPLES + others), ("b", others[::-1] + EXAMPLES)):
        found = [e for s in SPLITS for e in make(tmp_path / name, examples).examples(s)]
        assert [e.label for e in found if e.text == text] == [0.5]


def test_labels_are_optional(tmp_path):
    corpus = make(tmp_path / "a", [e._replace(label=None) for e in EXAMPLES])
    assert not list((tmp_path / "a").rglob("*.labels.npy"))
    assert all(e.label is None for e in corpus.examples("train"))
    some = [e._replace(label=None) if e.row % 3 else e for e in EXAMPLES]
    corpus = make(tmp_path / "b", some)
    found = {e.text: e.label for split in SPLITS for e in corpus.examples(split)}
    assert found == {e.text: e.label for e in some}


def test_the_manifest_records_request_and_counts(tmp_path):
    report = ReadReport()
    report.skip("malformed JSON", "x.jsonl:3")
    report.read = 1
    corpus = prepare(
        counted(EXAMPLES, 400, report),
        tmp_path / "c",
        report=report,
        source={"name": "x.jsonl"},
        normalisation=Normalisation(strip_tags=True),
        shards=(5, 1, 2),
        seed=7,
        progress=False,
    )
    manifest = json.loads((tmp_path / "c/manifest.json").read_text())
    assert manifest == corpus.manifest
    assert manifest["request"] == {
        "source": {"name": "x.jsonl"},
        "normalisation": {"strip_tags": True},
        "seed": 7,
        "shards": [5, 1, 2],
        "split": "shuffled",
        "dedup": "exact",
    }
    assert manifest["split_rule"] == "shuffled"
    assert manifest["report"]["skipped"] == {"malformed JSON": 1}
    assert manifest["reviews"] == 400 and manifest["duplicates"] == 0
    entry = manifest["splits"]["valid"][0]
    data = (tmp_path / "c" / entry["file"]).read_bytes()
    assert entry["bytes"] == len(data)
    assert entry["sha256"] == hashlib.sha256(data).hexdigest()
    assert corpus.normalisation == Normalisation(strip_tags=True)


def test_reviews_that_are_empty_once_normalised_are_counted(tmp_path):
    examples = [*EXAMPLES, Example("&nbsp;<br />", 1.0, 400)]
    options = {"normalisation": Normalisation(strip_tags=True)}
    corpus = make(tmp_path / "c", examples, **options)
    assert corpus.manifest["report"]["first"] == {"empty text": "examples:400"}
    assert corpus.manifest["reviews"] == 400


def test_preparing_again_finds_the_corpus(tmp_path, capsys):
    folder = tmp_path / "c"
    first = make(folder)
    report = ReadReport()
    never_read = (pytest.fail("read again") for _ in "x")
    arguments = {"source": {"name": "x"}, "shards": (5, 1, 2), "report": report}
    second = prepare(never_read, folder, **arguments)
    assert first.fingerprint == second.fingerprint
    assert "already prepared" in capsys.readouterr().err


def test_a_different_request_is_refused_naming_the_difference(tmp_path):
    make(tmp_path / "c")
    before = files(tmp_path / "c")
    for options, what in (
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"shards": (2, 1, 1)}, r"shards is \[5, 1, 2\] there and \[2, 1, 1\] here"),
        ({"source": {"name": "y"}}, "source"),
        ({"normalisation": Normalisation(True)}, "normalisation"),
    ):
        with pytest.raises(InputError, match=what):
            make(tmp_path / "c", **options)
    assert files(tmp_path / "c") == before


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c/notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty and not a corpus"):
        make(tmp_path / "c")
    with pytest.raises(InputError, match="is a file"):
        make(tmp_path / "c/notes.txt")
    with pytest.raises(InputError, match="cannot be written"):
        make(tmp_path / "c/notes.txt/corpus")
    assert files(tmp_path) == {"c/notes.txt": b"mine"}


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "c").mkdir()
    make(tmp_path / "c").verify()
    assert os.listdir(tmp_path) == ["c"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"):
        make(tmp_path / "c")


def test_bad_input_leaves_no_files(tmp_path):
    report = ReadReport()

    def half_bad():
        for example in counted(EXAMPLES, 400, report):
            if example.row % 2:
                report.skip("malformed JSON", f"x.jsonl:{example.row}")
            else:
                yield example

    with pytest.raises(InputError, match=r"50\.0% .* \(first: x.jsonl:1\)"):
        prepare(half_bad(), tmp_path / "c", report=report, source={}, progress=False)
    with pytest.raises(InputError, match="no usable text"):
        make(tmp_path / "c", [])
    with pytest.raises(InputError, match="shards"):
        make(tmp_path / "c", shards=(1, 0, 1))
    assert os.listdir(tmp_path) == []


def test_too_few_reviews_for_the_shards(tmp_path):
    with pytest.raises(InputError, match="400 different .* --shards 18/1/1$"):
        make(tmp_path / "c", shards=(1000, 1, 1))
    make(tmp_path / "c", shards=(18, 1, 1))
    with pytest.raises(InputError, match="10 different .* at least 60 .*1/1/1$"):
        make(tmp_path / "d", EXAMPLES[:10], shards=(50, 1, 1))
    assert os.listdir(tmp_path) == ["c"]


def test_a_folder_filled_by_another_process_is_not_touched(tmp_path):
    def examples():
        yield from EXAMPLES
        make(tmp_path / "other")
        os.rename(tmp_path / "other", tmp_path / "c")

    report = ReadReport(read=400)
    arguments = {"source": {}, "shards": (2, 1, 1), "report": report}
    with pytest.raises(InputError, match="meanwhile"):
        prepare(examples(), tmp_path / "c", progress=False, **arguments)
    assert len(Corpus.open(tmp_path / "c").shards["train"]) == 5
    assert os.listdir(tmp_path) == ["c"]
