"""The cleaning of OpenAI's encoder, and which models it is read with."""

import html

import pytest
import tiny
from foreign import random_params

from sdjax.checkpoints.convert import openai
from sdjax.checkpoints.convert.to_checkpoint import write_checkpoint
from sdjax.checkpoints.load import load_model
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.features.featurizer import TextFeaturizer

TEXTS = [
    "two\r\nlines",
    "\r\n ends \n\r",
    "old\rmac",
    "a\n\nb",
    "&lt;br&gt; &amp;#10; caf\u00e9",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
def test_it_does_what_their_code_does(text):
    # By the description of `preprocess` in utils.py of OpenAI's code.
    theirs = "\n " + html.unescape(text).replace("\n", " ").strip() + " "
    normalisation = Normalisation(cleaning="openai")
    assert normalisation.encode(text) == theirs.encode()
    assert normalisation.decode(normalisation.encode(text)) == theirs[2:-1]


def test_all_else_is_as_with_reviews():
    mine, theirs = Normalisation(), Normalisation(cleaning="openai")
    for text in ("plain", " one\nline &amp; more "):
        assert mine.encode(text) == theirs.encode(text)
        assert mine.encode_prefix(text) == theirs.encode_prefix(text)
    assert theirs.encode_whole(" \n") is None and theirs.end == ord("\n")
    assert Normalisation.from_json(theirs.as_json()) == theirs
    with pytest.raises(InputError, match="not from cleaning openai"):
        Normalisation(strip_tags=True, cleaning="openai")
    with pytest.raises(InputError, match="is for bytes"):
        Normalisation(cleaning="openai", codec="protein")


@pytest.fixture
def converted(tmp_path):
    model = tiny.model()
    openai.write(model, random_params(model), Normalisation(), tmp_path / "theirs")
    return openai.read(tmp_path / "theirs")


def test_what_is_converted_is_read_with_it(converted, tmp_path, capsys):
    write_checkpoint(converted, tmp_path / "model")
    featurizer = TextFeaturizer.from_pretrained(tmp_path / "model")
    assert featurizer.metadata()["normalisation"]["cleaning"] == "openai"
    assert capsys.readouterr().err == ""
    features = featurizer.transform(["a\rb", "a b"])
    assert (features[0] != features[1]).any()


def test_what_was_converted_before_stays_and_says_so(converted, tmp_path, capsys):
    older = converted._replace(normalisation=Normalisation())
    write_checkpoint(older, tmp_path / "model")
    assert load_model(tmp_path / "model").meta.normalisation == Normalisation()
    said = capsys.readouterr().err
    assert "converted by an older version" in said and "--normalise openai" in said
