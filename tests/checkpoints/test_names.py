"""The name of published weights is a checkpoint, for every command that takes one."""

import csv

import numpy as np
import pytest
import tiny
from fixtures_run import assert_refused
from foreign import random_params

from sdjax import TextFeaturizer
from sdjax.checkpoints import names, published
from sdjax.checkpoints.load import load_initial, load_model
from sdjax.data.text import Normalisation
from sdjax.errors import InputError

TEXTS = ["it was a nice day", "it was a bad day"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache that holds a small model under the name openai."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(names.CACHE, str(folder))
    monkeypatch.chdir(tmp_path)
    model = tiny.model()
    published.write(model, random_params(model), Normalisation(), folder / "openai")
    names._note.cache_clear()
    return folder


def test_a_name_is_a_checkpoint_for_the_library(cache):
    by_name, by_path = load_model(names.Path("openai")), load_model(cache / "openai")
    tiny.assert_trees_equal(by_name.params, by_path.params)
    assert by_name.path == cache / "openai"
    found = TextFeaturizer("openai").transform(TEXTS)
    wanted = TextFeaturizer(cache / "openai").transform(TEXTS)
    np.testing.assert_array_equal(found, wanted)
    tiny.assert_trees_equal(
        load_initial(names.Path("openai"), tiny.model()), by_path.params
    )


def test_a_name_is_a_checkpoint_for_every_command(cache, command, tiny_run, tmp_path):
    texts = tmp_path / "texts.csv"
    with open(texts, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        rows.writerows([text, i % 2] for i, text in enumerate(TEXTS * 4))
    labelled = ["--text-key", "text", "--label-key", "label"]
    splits = [part for s in ("train", "valid", "test") for part in (f"--{s}", texts)]
    calls = {
        "evaluate": ["openai", "--corpus", tiny_run.corpus],
        "featurize": ["--checkpoint", "openai", "--input", texts, *labelled]
        + ["--output", tmp_path / "f.npz"],
        "generate": ["openai", "--length", 5],
        "finetune": ["openai", *splits, *labelled, "--out", tmp_path / "tuned"]
        + ["--epochs", 1, "--batch-size", 4],
        "convert": ["--to", "openai", "openai", "--out", tmp_path / "arrays"],
        "units": ["openai", "--input", texts, "--text-key", "text"]
        + ["--out", tmp_path / "units.html", "--permutations", 1],
        "verify": ["openai"],
        "classify": ["openai", "--unit", 3, *TEXTS],
    }
    for name, arguments in calls.items():
        done = command.sdjax(name, *arguments)
        assert done.status == 0, f"{name}: {done.err}"
        assert "note: " not in done.err
    scored = tmp_path / "tuned" / "classifier"
    checkpoint = "--checkpoint", "openai"
    done = command.sdjax("classify", scored, *TEXTS, *checkpoint)
    # It was opened, and may be the model before it was fine-tuned.
    assert done.status == 0 or "openai: params_sha256 is" in done.err


def test_training_begins_from_a_name(cache, command, tiny_run, tmp_path):
    config = tiny.config(tiny_run.corpus, initial_checkpoint="openai", train_steps=1)
    done = command.train(config, tmp_path / "further")
    assert done.status == 0, done.err


def test_a_name_that_is_not_here_says_what_to_run(cache, command):
    for name in ("unirep-64", "nvidia"):
        with pytest.raises(InputError, match=f"run: sdjax download {name} "):
            load_model(names.Path(name))
    done = command.sdjax("generate", "unirep-64")
    assert_refused(done, "sdjax download unirep-64 (1 MB)", str(cache))
    with pytest.raises(InputError, match="sdjax download unirep-64"):
        TextFeaturizer("unirep-64").transform(TEXTS)


def test_a_path_of_that_name_wins_with_a_note(cache, command, tiny_run, tmp_path):
    (tmp_path / "openai").symlink_to(tiny_run.workdir)
    done = command.sdjax("generate", "openai", "--length", 5)
    assert done.status == 0
    assert done.err.count("note: openai is the path") == 1
    found = load_model(names.Path("openai"))
    tiny.assert_trees_equal(found.params, load_model(tiny_run.workdir).params)


def test_the_cache_is_where_the_variable_says_or_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv(names.CACHE, str(tmp_path))
    assert names.cache_folder() == tmp_path
    monkeypatch.delenv(names.CACHE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "users"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert names.cache_folder().is_relative_to(tmp_path)
    assert names.cache_folder().name == "sdjax"
