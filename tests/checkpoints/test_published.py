"""The published form: safetensors, configuration, card; by folder and by hub name."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from foreign import random_params
from older import without_digests
from safetensors.numpy import load_file, save_file

from sdjax import TextFeaturizer
from sdjax.checkpoints import published
from sdjax.checkpoints.load import load_model
from sdjax.data.text import Normalisation
from sdjax.errors import InputError

META = tiny.meta(
    config={"corpus": "/home/someone/data/amazon"},
    corpus="f00d",
    progress={"chars": 1234567, "updates": 99},
    valid_bpc=1.2345,
)


@pytest.fixture
def folder(tmp_path):
    model = tiny.model()
    params = random_params(model)
    published.write(model, params, Normalisation(), tmp_path / "model", META)
    return tmp_path / "model"


@pytest.mark.parametrize(
    "settings",
    [{}, {"cell": "lstm", "use_weight_norm": False}, {"num_layers": 2}],
    ids=str,
)
def test_out_and_in_again_is_the_same_bit_for_bit(tmp_path, settings):
    model = tiny.model(**settings, memory_span=10.0)
    params = random_params(model)
    normalisation = Normalisation(strip_tags=True)
    published.write(model, params, normalisation, tmp_path / "model")
    again = published.read(tmp_path / "model")
    assert (again.model, again.normalisation) == (model, normalisation)
    tiny.assert_trees_equal(again.params, params)


def test_arrays_that_are_not_contiguous_are_written_as_they_are(tmp_path):
    model = tiny.model()
    params = random_params(model)
    recurrent = params["recurrent"]
    recurrent["wh"] = np.asfortranarray(recurrent["wh"])
    recurrent["b"] = np.repeat(recurrent["b"], 2)[::2]
    published.write(model, params, Normalisation(), tmp_path / "model")
    found = load_file(tmp_path / "model" / published.WEIGHTS)
    np.testing.assert_array_equal(found["recurrent.wh"], recurrent["wh"])
    np.testing.assert_array_equal(found["recurrent.b"], recurrent["b"])


def test_card_and_configuration_say_what_the_checkpoint_knows(folder):
    config = json.loads((folder / published.CONFIG).read_text())
    assert config["about"] == {
        "corpus": "amazon",
        "corpus_fingerprint": "f00d",
        "characters": 1234567,
        "updates": 99,
        "valid_bpc": 1.2345,
    }
    card = (folder / published.CARD).read_text()
    assert card.startswith("---\nlibrary_name: sdjax\n")
    for words in (
        "8 units",
        "| amazon |",
        "1,234,567 characters",
        "1.2345",
        "a review",
    ):
        assert words in card
    assert "/home/someone" not in card + json.dumps(config)


def test_whoever_may_read_the_configuration_may_read_the_weights(folder):
    modes = {path.stat().st_mode for path in folder.iterdir()}
    assert len(modes) == 1


def test_a_published_folder_is_a_checkpoint(folder):
    loaded = load_model(folder, "bf16")
    assert loaded.model == tiny.model("bf16")
    assert loaded.meta.valid_bpc == 1.2345
    texts = ["A wonderful film.", "no"]
    featurizer = TextFeaturizer.from_pretrained(str(folder))
    assert featurizer.transform(texts).shape == (2, tiny.HIDDEN)
    assert featurizer.metadata()["checkpoint"] == str(folder)


def changed(folder, name, change):
    path = folder / name
    without_digests(folder / published.CONFIG)
    if name == published.CONFIG:
        config = json.loads(path.read_text())
        change(config)
        path.write_text(json.dumps(config))
    else:
        arrays = load_file(path)
        change(arrays)
        save_file(arrays, path)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (
            published.WEIGHTS,
            lambda a: a.pop("recurrent.wmh"),
            ("misses recurrent.wmh", "asks for 12 arrays"),
        ),
        (
            published.WEIGHTS,
            lambda a: a.update({"adam.mu": np.zeros(2, "f4")}),
            ("beside what was expected, adam.mu",),
        ),
        (
            published.WEIGHTS,
            lambda a: a.update({"output.bias": np.zeros(255, "f4")}),
            ("output.bias: shape (255,), expected (256,)",),
        ),
        (
            published.WEIGHTS,
            lambda a: a.update({"output.bias": np.zeros(256, "f2")}),
            ("output.bias: dtype float16, expected float32",),
        ),
        (
            published.WEIGHTS,
            lambda a: a.update({"output.bias": np.full(256, np.nan, "f4")}),
            ("output.bias: 256 of 256 values are not finite",),
        ),
        (
            published.CONFIG,
            lambda c: c.update(format="other-2"),
            ("format 'other-2'", "sdjax-model-1"),
        ),
        (
            published.CONFIG,
            lambda c: c["model"].update(hidden_size=16),
            ("hidden_size is 16, but the array output.kernel has the shape (8, 256)",),
        ),
        (
            published.CONFIG,
            lambda c: c["model"].update(cell="gru"),
            ("config.json: not a model", "gru"),
        ),
        (
            published.CONFIG,
            lambda c: c["model"].update(novelty=1),
            ("config.json: not a model", "novelty"),
        ),
        (
            published.CONFIG,
            lambda c: c["model"].update(hidden_size="wide"),
            ("config.json: not a model",),
        ),
        (
            published.CONFIG,
            lambda c: c["normalisation"].update(lower=True),
            ("unknown text normalisation 'lower'",),
        ),
        (published.CONFIG, lambda c: c.pop("model"), ("model is None",)),
    ],
)
def test_what_is_wrong_is_refused_by_name(folder, name, change, words):
    changed(folder, name, change)
    with pytest.raises(InputError) as refused:
        load_model(folder)
    for word in (str(folder), *words):
        assert word in str(refused.value)


@pytest.mark.parametrize("name", [published.CONFIG, published.WEIGHTS])
def test_a_file_missing_or_cut_short_is_refused(folder, name):
    data = (folder / name).read_bytes()
    for size in (0, 7, len(data) // 2, len(data) - 3):
        (folder / name).write_bytes(data[:size])
        with pytest.raises(InputError, match=f"{name}: (cut|damaged)"):
            load_model(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name}: is missing"):
        load_model(folder)


class NotThere(Exception):
    """Stands in for huggingface_hub's EntryNotFoundError."""


def hub_that(monkeypatch, download) -> None:
    errors = SimpleNamespace(EntryNotFoundError=NotThere)
    module = SimpleNamespace(snapshot_download=download, errors=errors)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)


def test_a_model_is_fetched_by_its_name_on_the_hub(folder, monkeypatch):
    asked = []

    def download(name, allow_patterns):
        asked.append((name, sorted(allow_patterns)))
        return str(folder)

    hub_that(monkeypatch, download)
    featurizer = TextFeaturizer.from_pretrained("someone/sentiment-8")
    assert asked == [("someone/sentiment-8", [published.CONFIG, published.WEIGHTS])]
    assert featurizer.model == tiny.model()


@pytest.mark.parametrize("error", [OSError, ValueError, NotThere])
def test_without_a_network_a_hub_name_is_one_clear_line(monkeypatch, error):
    def download(name, allow_patterns):
        raise error("Name or service not known\nand much more")

    hub_that(monkeypatch, download)
    with pytest.raises(InputError) as refused:
        load_model(Path("someone/model"))
    message = str(refused.value)
    assert message.startswith("no checkpoint in someone/model, there is no such folder")
    assert "the hub gave no model of that name" in message
    assert "Name or service not known" in message
    assert "much more" not in message


def test_without_the_extra_a_hub_name_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        InputError, match=r"in someone/model.*pip install 'sdjax\[hub\]'"
    ):
        TextFeaturizer.from_pretrained("someone/model")


def test_a_mistyped_path_is_no_hub_name(tmp_path, monkeypatch):
    def download(name, allow_patterns):
        raise AssertionError("no network for a path")

    hub_that(monkeypatch, download)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for path in ("runs/quickstrat", "model", "a/b/c", "../a", str(tmp_path / "model")):
        with pytest.raises(InputError, match="no checkpoint in"):
            TextFeaturizer.from_pretrained(path)
