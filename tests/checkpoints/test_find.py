"""Where artefacts say that their checkpoint is, and how it is found again."""

import json
import os
import shutil
from pathlib import Path

import pytest
from fixtures_run import assert_refused, featurize_arguments

from sdjax import portable
from sdjax.checkpoints.find import find_checkpoint
from sdjax.checkpoints.load import fingerprint, load_model
from sdjax.errors import InputError
from sdjax.features import file as feature_file
from sdjax.model.classifier import Classifier


@pytest.mark.parametrize(
    ("path", "folder", "wanted"),
    [
        ("/a/run/checkpoints/3", "/a/report", "../run/checkpoints/3"),
        ("/a/run", "/a", "run"),
        ("/a/run", "/b/report", None),  # only the root holds both
    ],
)
def test_a_path_is_relative_within_one_tree_alone(path, folder, wanted):
    assert portable.relative_path(path, Path(folder)) == wanted


def test_what_is_stored_is_what_is_read(tmp_path):
    metadata = {"checkpoint": str(tmp_path / "run" / "3"), "input": "/data/x.csv"}
    stored = portable.stored_metadata(metadata, tmp_path / "out")
    assert stored == {"checkpoint_path": "../run/3", "input": "x.csv"}
    read = portable.read_metadata(stored, tmp_path / "out")
    assert read == {"checkpoint": str(tmp_path / "run" / "3"), "input": "x.csv"}
    older = {"checkpoint": "runs/x", "step": 3}  # as it was given then
    assert portable.read_metadata(older, tmp_path) == older


def test_a_model_of_a_hub_is_known_by_its_name():
    of = {"checkpoint": "/home/me/.cache/models--a--b", "checkpoint_name": "a/b"}
    assert portable.stored_metadata(of, Path("/home/me")) == {"checkpoint_name": "a/b"}
    assert portable.checkpoint_shown(of) == "a/b"
    assert portable.checkpoint_shown({"checkpoint": "/x/y/run/checkpoints/3"}) == (
        "run/checkpoints/3"
    )


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/data/x.csv", "x.csv"),
        ("/data/a.zip::b/c.csv", "a.zip::b/c.csv"),
        ("texts/x.csv", "texts/x.csv"),
        ("hf:owner/name:train", "hf:owner/name:train"),
        ("-", "-"),
    ],
)
def test_an_input_is_named_without_the_folders_of_this_machine(source, name):
    assert portable.source_name(source) == name


@pytest.fixture
def tree(tiny_run, tmp_path):
    """A run and features of it, in one tree."""
    shutil.copytree(tiny_run.workdir, tmp_path / "here" / "run")
    return tmp_path / "here"


def featurize(command, tiny_run, run, output):
    class Run:
        workdir = run

    arguments = featurize_arguments(Run, tiny_run.texts["test"], output)
    done = command.featurize(*arguments)
    assert done.status == 0, done.err


def all_text_of(path: Path) -> str:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    skipped = (".png", ".npy")
    data = [p.read_bytes() for p in files if p.suffix not in skipped]
    return b"\n".join(data).decode(errors="replace")


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".parquet"])
def test_a_tree_can_be_moved(tree, tiny_run, command, tmp_path, suffix):
    pytest.importorskip("pyarrow")
    featurize(command, tiny_run, tree / "run", tree / "features" / f"x{suffix}")
    os.rename(tree, tmp_path / "there")
    place = tmp_path / "there" / "features" / f"x{suffix}"
    assert str(tmp_path) not in all_text_of(place.parent)
    metadata = feature_file.load(place).metadata
    assert metadata["checkpoint"].startswith(f"{tmp_path}/there/run/checkpoints/")
    loaded = find_checkpoint(metadata)
    assert fingerprint(loaded.params) == metadata["params_sha256"]


@pytest.mark.parametrize("what", ["file", "folder"])
def test_through_a_link_it_is_still_found(tree, tiny_run, command, tmp_path, what):
    featurize(command, tiny_run, tree / "run", tree / "features" / "x.npz")
    (tmp_path / "far" / "away").mkdir(parents=True)
    link = tmp_path / "far" / "away" / "link.npz"
    if what == "file":
        link.symlink_to(tree / "features" / "x.npz")
    else:
        folder = tmp_path / "far" / "away" / "linked"
        folder.symlink_to(tree / "features")
        link = folder / "x.npz"
    found = feature_file.load(link).metadata["checkpoint"]
    assert found.startswith(f"{tree}/run/checkpoints/")


def test_no_artefact_has_an_absolute_path(tree, tiny_run, command, monkeypatch):
    shutil.copytree(tiny_run.texts["train"].parent, tree / "texts")
    splits, files = [], []
    for split in ("train", "valid", "test"):
        featurize(command, tiny_run, tree / "run", tree / f"{split}.npz")
        splits += [f"--{split}", tree / f"{split}.npz"]
        files += [f"--{split}", tree / "texts" / f"{split}.csv"]
    options = ("--draws", 0, "--one-checkpoint")
    done = command.sdjax("probe", *splits, "--out", tree / "report", *options)
    assert done.status == 0, done.err
    quick = ("--epochs", 1, "--max-bytes", 8, "--label-key", "label")
    tuned = ("finetune", tree / "run", *files, "--out", tree / "tuned", *quick)
    assert command.sdjax(*tuned).status == 0
    page = tree / "report" / "explained.html"
    explained = ("classify", tree / "report" / "classifier", "Good.", "--html", page)
    assert command.sdjax(*explained).status == 0
    for made in ("report", "tuned/classifier"):
        assert str(tree.parent) not in all_text_of(tree / made), made
    (step, *_) = sorted((tree / "tuned" / "checkpoints").glob("[0-9]*"))
    meta = json.loads((step / "meta" / "metadata").read_text())
    assert str(tree) not in json.dumps(meta["finetuned"])
    assert meta["finetuned"]["from"]["checkpoint_path"].startswith("../../run/")
    assert set(meta["finetuned"]["from"]) == {"checkpoint_path", "params_sha256"}


def test_the_hash_decides(tree, tiny_run, command, tmp_path):
    steps = sorted((tree / "run" / "checkpoints").glob("[0-9]*"), key=lambda p: p.name)
    wanted = fingerprint(load_model(steps[0]).params)
    metadata = {"checkpoint": str(steps[0]), "params_sha256": wanted}
    assert find_checkpoint(metadata).path == steps[0]
    with pytest.raises(InputError, match="another model; give --checkpoint"):
        find_checkpoint(metadata | {"checkpoint": str(steps[-1])})
    assert find_checkpoint({**metadata, "checkpoint": "gone"}, steps[0]).path
    with pytest.raises(InputError, match="params_sha256 is"):
        find_checkpoint(metadata, steps[-1])
    named = {"checkpoint_name": str(steps[0]), "params_sha256": wanted}
    assert find_checkpoint(named | {"checkpoint": str(steps[-1])}).path == steps[0]
    with pytest.raises(InputError, match=f"{wanted[:12]}.*give --checkpoint"):
        find_checkpoint({"params_sha256": wanted})


def test_a_classifier_finds_its_model_by_the_name_on_the_hub(
    tiny_run, tree, monkeypatch, tmp_path
):
    from sdjax.checkpoints import published
    from sdjax.features.featurizer import TextFeaturizer

    loaded = load_model(tiny_run.workdir)
    cache = tmp_path / "cache" / "snapshot"
    published.write(
        loaded.model, loaded.params, loaded.meta.normalisation, cache, loaded.meta
    )
    monkeypatch.setattr(published, "fetch", lambda name: cache)
    featurizer = TextFeaturizer.from_pretrained("someone/model")
    metadata = featurizer.metadata()
    assert metadata["checkpoint_name"] == "someone/model"
    import numpy as np

    made = Classifier(
        *("binary", ("no", "yes"), np.ones((1, featurizer.width)), np.zeros(1)),
        np.array([0.5]),
        metadata=metadata,
    )
    made.save(tree / "classifier")
    assert str(tmp_path) not in all_text_of(tree / "classifier")
    read = Classifier.load(tree / "classifier").metadata
    assert "checkpoint" not in read
    found = find_checkpoint(read)
    assert (found.name, found.path) == ("someone/model", cache)


def test_probe_is_told_where_the_checkpoint_is(tree, tiny_run, command, tmp_path):
    shutil.rmtree(tree / "run")
    splits = []
    for split in ("train", "valid", "test"):
        output = tree / f"{split}.npz"
        shutil.copy(tiny_run.features[split], output)
        splits += [f"--{split}", output]
    options = ("--draws", 0, "--one-checkpoint", "--no-bag-of-words")
    out = tmp_path / "report"
    done = command.sdjax("probe", *splits, "--out", out, *options)
    assert done.status == 0 and "warning: no checkpoint in" in done.err
    given = ("--checkpoint", tiny_run.workdir)
    done = command.sdjax("probe", *splits, "--out", out, *options, *given)
    assert done.status == 0 and "warning" not in done.err
    wrong = command.sdjax("classify", out / "classifier", "Good.")
    assert_refused(wrong, "no checkpoint in")
    assert command.sdjax("classify", out / "classifier", "Good.", *given).status == 0
