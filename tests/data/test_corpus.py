"""Opening a corpus: what is damaged is named."""

import json

import pytest
import tiny
from fixtures_corpus import make
from older import without_digests

from sdjax.data.corpus import Corpus
from sdjax.errors import Damaged, InputError


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
        ("[]", "not a JSON object"),
        ("{}", "not the manifest"),
        ('{"format": "sdjax corpus", "format_version": 99}', "version 99"),
        ('{"format": "sdjax corpus", "format_version": 1}', "damaged"),
    ):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(InputError, match=why):
            Corpus.open(tmp_path)


@pytest.mark.parametrize("name", ["../outside.bin", "/etc/hostname"])
def test_a_manifest_names_no_file_outside_of_its_corpus(tmp_path, name):
    folder = tiny.corpus(tmp_path / "corpus").folder
    manifest = without_digests(folder / "manifest.json")
    manifest["splits"]["train"][0]["file"] = name
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Damaged, match="is not in the corpus"):
        Corpus.open(folder)
