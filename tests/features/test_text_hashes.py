"""Features files without texts: a hash of each, by which an overlap is found."""

import csv
import json
import zipfile

import numpy as np
import pytest

from sdjax.features import file as feature_file
from sdjax.features import storage
from sdjax.integrity import SEAL
from sdjax.probe import overlap

TRAIN = ["A good phone.", "Tom &amp; I", "bad", "one\ntwo", "a sentence of its own"]
TEST = ["Tom & I", "worse", "one two "]


def write(path, texts):
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        rows.writerows([text, i % 2] for i, text in enumerate(texts))
    return path


@pytest.fixture
def featurize(tiny_run, tmp_path, command):
    """Featurize texts; return the features file."""

    def run(texts, name, *options):
        given = write(tmp_path / "in.csv", texts)
        done = command.featurize(
            *("--checkpoint", tiny_run.workdir, "--input", given, "--text-key", "text"),
            *("--label-key", "label", "--output", tmp_path / name, *options),
        )
        assert done.status == 0, done.err
        return feature_file.load(tmp_path / name)

    return run


@pytest.mark.parametrize("form", ["npz", "npy", "parquet"])
def test_the_overlap_is_that_of_the_texts(featurize, tmp_path, form):
    with_texts = {
        "train": featurize(TRAIN, "a.npz"),
        "test": featurize(TEST, "b.npz"),
    }
    without = {
        "train": featurize(TRAIN, f"c.{form}", "--no-texts"),
        "test": featurize(TEST, f"d.{form}", "--no-texts"),
    }
    expected = overlap.find_overlap(with_texts)
    assert expected["train"].tolist() == [False, True, False, True, False]
    for splits in (
        without,
        {"train": with_texts["train"], "test": without["test"]},
        {"train": without["train"], "test": with_texts["test"]},
    ):
        found = overlap.find_overlap(splits)
        np.testing.assert_array_equal(found["train"], expected["train"])
        assert overlap.warnings(splits, found)[0].startswith("2 of 3 texts of test")
        kept = overlap.without(splits, found)
        assert len(kept["train"]) == 3
        assert not overlap.find_overlap(kept)["train"].any()
    made = without["train"]
    assert not any(made.texts) and made.text_hashes.shape == (5, 16)
    np.testing.assert_array_equal(made.features, with_texts["train"].features)
    assert not storage.verify(tmp_path / f"c.{form}").problems
    kept = b"".join(p.read_bytes() for p in tmp_path.glob(f"c.*{form}"))
    assert b"a sentence of its own" not in kept


def test_a_stopped_run_goes_on_with_its_hashes_only(
    featurize, command, tiny_run, tmp_path, monkeypatch
):
    from sdjax.features import bulk

    monkeypatch.setattr(bulk, "BLOCK_TEXTS", 2)
    whole = featurize(TRAIN, "whole.npz", "--no-texts")
    calls = iter(range(9))

    def stop(texts, number=calls):
        if next(number) == 1:
            raise KeyboardInterrupt
        return hashes(texts)

    hashes = bulk.hashes
    monkeypatch.setattr(bulk, "hashes", stop)
    arguments = ["--checkpoint", tiny_run.workdir, "--input", tmp_path / "in.csv"]
    arguments += ["--text-key", "text", "--label-key", "label"]
    arguments += ["--output", tmp_path / "out.npz"]
    assert command.featurize(*arguments, "--no-texts").status == 130
    assert (tmp_path / "out.npz.partial").is_dir()
    refused = command.featurize(*arguments)
    assert refused.status == 2 and "texts is 'hashes' there" in refused.err
    made = featurize(TRAIN, "out.npz", "--no-texts")
    np.testing.assert_array_equal(made.text_hashes, whole.text_hashes)


def test_an_older_file_without_texts_opens_and_its_overlap_is_unknown(
    featurize, tmp_path
):
    featurize(TRAIN, "new.npz", "--no-texts")
    with np.load(tmp_path / "new.npz") as archive:
        columns = dict(archive)
    del columns["text_hashes"]
    metadata = json.loads(columns["metadata"].tobytes())
    del metadata["digests"], metadata[SEAL]
    columns["metadata"] = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    np.savez(tmp_path / "older.npz", **columns)
    older = feature_file.load(tmp_path / "older.npz")
    assert older.text_hashes is None
    splits = {"train": older, "test": featurize(TEST, "b.npz")}
    assert overlap.find_overlap(splits) is None
    assert "unknown" in overlap.warnings(splits, None)[0]


def test_the_probe_says_what_it_has_no_texts_for(command, tiny_run, tmp_path):
    paths = {}
    for split, texts in tiny_run.texts.items():
        paths[split] = tmp_path / f"{split}.npz"
        done = command.featurize(
            *("--checkpoint", tiny_run.workdir, "--input", texts, "--no-texts"),
            *("--text-key", "sentence", "--label-key", "label"),
            *("--output", paths[split]),
        )
        assert done.status == 0, done.err
        assert zipfile.ZipFile(paths[split]).namelist().count("text_hashes.npy") == 1
    out = tmp_path / "report"
    given = [part for split in paths for part in (f"--{split}", paths[split])]
    done = command.sdjax("probe", *given, "--out", out, "--workers", 1, "--draws", 0)
    assert done.status == 0, done.err
    assert "unknown" not in done.err
    report = json.loads((out / "report.json").read_text())
    for part in ("bag_of_words", "coloured_texts", "probe_points"):
        assert report["absent"][part] == "the features files have no texts"
    assert report["also_in_test"] is not None
