import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

from sdjax import prepare as prepare_module
from sdjax.corpus import SPLITS, Corpus
from sdjax.errors import InputError
from sdjax.prepare import prepare
from sdjax.readreport import ReadReport
from sdjax.sources import Example, counted
from sdjax.text import Normalisation

EXAMPLES = [Example(f"Review number {i}.", float(i % 2), i) for i in range(400)]


def make(folder, examples=EXAMPLES, **options):
    report = ReadReport()
    options = {"source": {"name": "x"}, "shards": (5, 1, 2)} | options
    examples = counted(examples, len(examples), report)
    return prepare(examples, folder, report=report, progress=False, **options)


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def texts(corpus):
    return {split: [e.text for e in corpus.examples(split)] for split in SPLITS}


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


@pytest.mark.parametrize("size", [1, 1000, 10**9])
def test_the_size_of_the_buffer_changes_nothing(tmp_path, monkeypatch, size):
    expected = make(tmp_path / "a").fingerprint
    monkeypatch.setattr(prepare_module, "_BUFFER_BYTES", size)
    assert make(tmp_path / "b").fingerprint == expected


def test_exact_duplicates_are_dropped_and_counted(tmp_path):
    again = [Example(f" {e.text}\n", e.label, e.row) for e in EXAMPLES[:30]]
    corpus = make(tmp_path / "b", EXAMPLES + again + again)
    assert corpus.manifest["duplicates"] == 60
    assert corpus.fingerprint == make(tmp_path / "a").fingerprint


def test_of_duplicates_with_different_labels_the_smallest_stays(tmp_path):
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


def test_the_manifest_says_what_was_done(tmp_path):
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
    assert corpus.manifest["report"]["first"] == {"empty text": "row 400"}
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


def test_another_request_is_refused_by_name_of_what_differs(tmp_path):
    make(tmp_path / "c")
    before = files(tmp_path / "c")
    for options, what in (
        ({"seed": 1}, "seed is 0, asked for 1"),
        ({"shards": (2, 1, 1)}, r"shards is \[5, 1, 2\], asked for \[2, 1, 1\]"),
        ({"source": {"name": "y"}}, "source"),
        ({"normalisation": Normalisation(True)}, "normalisation"),
    ):
        with pytest.raises(InputError, match=what):
            make(tmp_path / "c", **options)
    assert files(tmp_path / "c") == before


def test_a_folder_with_something_else_is_refused(tmp_path):
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
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"):
        make(tmp_path / "c")


def test_bad_input_leaves_nothing(tmp_path):
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


def fail_at(monkeypatch, name, number, error):
    """Make the nth call of a function of the prepare module fail."""
    original = getattr(prepare_module, name)
    calls = iter(range(1, 10**6))

    def wrapper(*args):
        if next(calls) == number:
            raise error
        return original(*args)

    monkeypatch.setattr(prepare_module, name, wrapper)


@pytest.mark.parametrize(
    ("name", "number"),
    [("_flush", 1), ("_flush", 3), ("_write_shard", 4), ("_sync", 2), ("_sync", 28)],
)
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, name, number):
    monkeypatch.setattr(prepare_module, "_BUFFER_BYTES", 1000)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        fail_at(patch, name, number, full)
        with pytest.raises(InputError, match="disk full"):
            make(tmp_path / "c")
    assert os.listdir(tmp_path) == []
    make(tmp_path / "c").verify()


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    fail_at(monkeypatch, "_write_shard", 4, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "c")
    assert os.listdir(tmp_path) == []


SLEEPER = """
import sys, time
from sdjax import prepare
from sdjax.readreport import ReadReport
from sdjax.sources import Example

stage, folder = sys.argv[1:]
original = getattr(prepare, stage)
calls = []

def stuck(*args):
    calls.append(1)
    if len(calls) == 2:
        print("stuck", flush=True)
        time.sleep(60)
    return original(*args)

setattr(prepare, stage, stuck)
prepare._BUFFER_BYTES = 1000
examples = (Example(f"Review number {i}.", 1.0, i) for i in range(400))
report = ReadReport(read=400)
prepare.prepare(examples, folder, report=report, source={}, shards=(5, 1, 2))
"""


@pytest.mark.parametrize("stage", ["_flush", "_write_shard", "_sync"])
def test_kill_9_leaves_nothing_that_opens(tmp_path, stage):
    folder = tmp_path / "c"
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, stage, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout.readline() == b"stuck\n"
        if stage == "_flush":
            with pytest.raises(InputError, match="another prepare is writing"):
                make(folder)
        process.send_signal(signal.SIGKILL)
    leftovers = os.listdir(tmp_path)
    assert leftovers == [".c.preparing"]
    for name in ("c", *leftovers):
        with pytest.raises(InputError):
            Corpus.open(tmp_path / name)
    make(folder).verify()
    assert os.listdir(tmp_path) == ["c"]


def test_a_folder_filled_meanwhile_is_left_alone(tmp_path):
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


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "flip":
        data[len(data) // 2] ^= 1
    elif how == "truncate":
        data = data[:-1]
    path.unlink()
    if how != "delete":
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["truncate", "delete"])
def test_a_truncated_or_missing_shard_is_named_at_opening(tmp_path, how):
    make(tmp_path / "c")
    damage(tmp_path / "c/train/00002.bin", how)
    with pytest.raises(InputError, match="train/00002.bin: damaged"):
        Corpus.open(tmp_path / "c")


def test_a_wrong_checksum_is_named_at_reading(tmp_path):
    make(tmp_path / "c")
    damage(tmp_path / "c/train/00002.bin", "flip")
    corpus = Corpus.open(tmp_path / "c")
    corpus.read("train", 1)
    for attempt in (lambda: corpus.read("train", 2), corpus.verify):
        with pytest.raises(InputError, match="train/00002.bin: damaged.*SHA-256"):
            attempt()


@pytest.mark.parametrize("how", ["flip", "truncate", "delete"])
@pytest.mark.parametrize("kind", ["offsets", "labels"])
def test_a_damaged_index_is_named(tmp_path, kind, how):
    corpus = make(tmp_path / "c")
    damage(tmp_path / f"c/test/00001.{kind}.npy", how)
    with pytest.raises(InputError, match="test/00001.*damaged"):
        corpus.verify()


def test_a_folder_that_is_no_corpus(tmp_path):
    with pytest.raises(InputError, match="no such corpus folder"):
        Corpus.open(tmp_path / "none")
    with pytest.raises(InputError, match="has no manifest.json"):
        Corpus.open(tmp_path)
    for content, why in (
        ("{", "damaged"),
        ("[]", "not the manifest"),
        ('{"format": "sdjax corpus", "format_version": 99}', "version 99"),
        ('{"format": "sdjax corpus", "format_version": 1}', "damaged"),
    ):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(InputError, match=why):
            Corpus.open(tmp_path)
