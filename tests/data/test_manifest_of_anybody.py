"""A manifest, and what lies beside it, are checked where they are opened."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from sdjax.data.corpus import Corpus
from sdjax.errors import InputError
from sdjax.integrity import sealed


@pytest.fixture
def corpus(tiny_run, tmp_path):
    shutil.copytree(tiny_run.corpus, tmp_path / "corpus")
    return tmp_path / "corpus"


def change(corpus, how) -> None:
    path = corpus / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest.pop("xxh3_128")
    how(manifest["splits"])
    path.write_text(json.dumps(sealed(manifest)))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda s: s.update(valid=[]), "valid has no text"),
        (lambda s: s.pop("test"), "KeyError: 'test'"),
        (lambda s: s["train"][0].update(bytes="many"), "'many' is not a count"),
        (lambda s: s["train"][0].update(bytes=-1), "-1 is not a count"),
        (lambda s: s["train"][0].update(bytes=1.5), "1.5 is not a count"),
        (lambda s: s["train"][0].update(file=7), "damaged"),
        (lambda s: s.update(train="x"), "damaged"),
    ],
)
def test_what_is_wrong_is_named(corpus, how, words):
    change(corpus, how)
    with pytest.raises(InputError, match=words):
        Corpus.open(corpus)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda o: o[:-1],
        lambda o: o.astype(np.float64),
        lambda o: np.where(np.arange(len(o)) == 1, -5, o),
        lambda o: o + 1,
        lambda o: o.astype("U9"),
    ],
)
def test_offsets_that_do_not_divide_a_shard(corpus, wrong):
    path = corpus / "train" / "00000.offsets.npy"
    np.save(path, wrong(np.load(path)))
    labels = path.with_name("00000.labels.npy")
    content = path.read_bytes() + (labels.read_bytes() if labels.exists() else b"")
    digest = hashlib.sha256(content).hexdigest()
    change(corpus, lambda s: s["train"][0].update(index_sha256=digest))
    with pytest.raises(InputError, match="does not divide the shard"):
        list(Corpus.open(corpus).examples("train"))
