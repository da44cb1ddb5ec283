"""`sdjax convert`, and the other commands on converted checkpoints."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from fixtures_run import assert_refused, featurize_arguments
from foreign import nvidia_arrays, openai_arrays, random_params
from torch_files import save_stream, state_dict

from sdjax.checkpoints import published, weights
from sdjax.checkpoints.convert import nvidia, openai, unirep
from sdjax.checkpoints.load import fingerprint, load_model
from sdjax.data.text import Normalisation
from sdjax.features import file as feature_file

GOOD, BAD = "I love this phone.", "The price was awful."


def written_openai(folder):
    folder.mkdir()
    for index, array in enumerate(openai_arrays(tiny.HIDDEN, tiny.EMBEDDING)):
        np.save(folder / f"{index}.npy", array)
    return folder


@pytest.fixture(scope="module")
def classifier_file(tmp_path_factory):
    """Write an NVIDIA file of 2018 with a language model and a classifier."""
    arrays = {"weight": np.ones((1, 8), "f4"), "bias": np.zeros(1, "f4")}
    path = tmp_path_factory.mktemp("nvidia") / "model.clf"
    body = state_dict(nvidia_arrays())
    save_stream(path, {"sd": {"lm_encoder": body, "classifier": state_dict(arrays)}})
    return path


@pytest.fixture(scope="module")
def converted(classifier_file, tmp_path_factory):
    """Convert that file to a checkpoint with the command."""
    from sdjax.checkpoints.convert.to_checkpoint import write_checkpoint

    out = tmp_path_factory.mktemp("converted") / "run"
    write_checkpoint(nvidia.read(classifier_file), out)
    return out


def test_from_writes_a_checkpoint(tmp_path, command):
    source, out = written_openai(tmp_path / "model"), tmp_path / "new" / "run"
    done = command.sdjax("convert", "--from", "openai", source, "--out", out)
    assert done.status == 0, done.err
    assert "mlstm, 8 units, vocabulary of 256, with weight norm" in done.out
    assert str(out) in done.out
    assert [p.name for p in out.parent.iterdir()] == ["run"]
    loaded = load_model(out)
    assert loaded.path == out / "checkpoints" / "0"
    assert loaded.meta.source["format"] == "openai"
    imported = openai.read(source)
    tiny.assert_trees_equal(loaded.params, imported.params)


FORMATS = {
    "openai": (openai, "model", {}),
    "nvidia": (nvidia, "model.pt", {"num_layers": 2}),
    "unirep": (unirep, "model.pkl", {"vocabulary_size": 26, "num_layers": 2}),
    "safetensors": (published, "model", {"cell": "lstm"}),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_round_trip_gives_the_same_checkpoint(tmp_path, command, name):
    module, file, settings = FORMATS[name]
    model = tiny.model(**settings)
    codec = "protein" if name == "unirep" else "bytes"
    params = random_params(model)
    if name == "unirep":  # UniRep never predicts the gap; reading adds its column
        params["output"]["kernel"][:, 0] = 0
        params["output"]["bias"][0] = -1e4
    module.write(model, params, Normalisation(codec=codec), tmp_path / file)
    ways = (
        ("--from", tmp_path / file, tmp_path / "first"),
        ("--to", tmp_path / "first", tmp_path / "out" / file),
        ("--from", tmp_path / "out" / file, tmp_path / "second"),
    )
    for way, source, out in ways:
        done = command.sdjax("convert", way, name, source, "--out", out)
        assert done.status == 0, done.err
    first, second = load_model(tmp_path / "first"), load_model(tmp_path / "second")
    tiny.assert_trees_equal(first.params, params)
    assert fingerprint(first.params) == fingerprint(second.params)
    assert first.model == second.model == model
    assert first.meta.normalisation == second.meta.normalisation


def test_fold_writes_plain_weights(tmp_path, command, tiny_run, tolerances):
    for fold, out in ((), tmp_path / "whole"), (("--fold",), tmp_path / "folded"):
        done = command.sdjax(
            *("convert", "--to", "safetensors", tiny_run.workdir, "--out", out), *fold
        )
        assert done.status == 0, done.err
    whole, folded = load_model(tmp_path / "whole"), load_model(tmp_path / "folded")
    original = load_model(tiny_run.workdir)
    tiny.assert_trees_equal(whole.params, original.params)
    assert "gx" not in folded.params["recurrent"]
    assert not folded.model.use_weight_norm
    tokens = np.frombuffer(b"\n A good film ", np.uint8)[:, None]
    logits = [
        m.model.apply(
            {"params": m.params}, tokens, m.model.zero_state(1), np.array([True])
        )["logits"]
        for m in (original, folded)
    ]
    np.testing.assert_allclose(*logits, **tolerances["float32"])


def test_the_card_of_a_trained_model_says_what_it_was_trained_on(
    tmp_path, command, tiny_run
):
    out = tmp_path / "model"
    done = command.sdjax(
        "convert", "--to", "safetensors", tiny_run.workdir, "--out", out
    )
    assert done.status == 0, done.err
    about = json.loads((out / "config.json").read_text())["about"]
    assert about["corpus"] == "corpus"
    assert about["characters"] > 0 and about["valid_bpc"] > 0
    assert "bits per character (valid)" in (out / "README.md").read_text()
    # A round trip through a checkpoint gives the same card.
    for way, source, to in (("--from", out, "run"), ("--to", tmp_path / "run", "two")):
        arguments = ("convert", way, "safetensors", source, "--out", tmp_path / to)
        assert command.sdjax(*arguments).status == 0
    again = json.loads((tmp_path / "two" / "config.json").read_text())["about"]
    assert again == about | {"source": again["source"]}


def test_evaluate(converted, command, tiny_run):
    done = command.sdjax("evaluate", converted, "--corpus", tiny_run.corpus)
    assert done.status == 0, done.err
    assert "bits per character" in done.out


def test_classify_with_the_classifier_of_the_file(converted, command):
    done = command.sdjax("classify", converted / "classifier", GOOD, BAD)
    assert done.status == 0, done.err
    heading, *lines = done.out.splitlines()
    assert heading.split()[:2] == ["p(positive)", "called"]
    assert len(lines) == 2


def test_generate(converted, command):
    arguments = ("--samples", 2, "--length", 3, "--unit", "2=1")
    done = command.sdjax("generate", converted, *arguments)
    assert done.status == 0, done.err


@pytest.mark.parametrize("form", ["checkpoint", "published"])
def test_featurize_and_probe(converted, command, tiny_run, tmp_path, form):
    checkpoint = converted
    if form == "published":
        checkpoint = tmp_path / "model"
        loaded = load_model(converted)
        published.write(loaded.model, loaded.params, Normalisation(), checkpoint)
    run, features = SimpleNamespace(workdir=checkpoint), {}
    for split, texts in tiny_run.texts.items():
        features[split] = tmp_path / f"{split}.npz"
        arguments = featurize_arguments(run, texts, features[split])
        assert command.featurize(*arguments).status == 0
    saved = feature_file.load(features["test"])
    assert saved.features.shape == (30, 8) and np.std(saved.features) > 0
    paths = [x for split, path in features.items() for x in (f"--{split}", path)]
    done = command.sdjax(
        *("probe", *paths, "--out", tmp_path / "report", "--workers", 1, "--draws", 0)
    )
    assert done.status == 0, done.err
    assert "top unit" in done.out
    done = command.sdjax("classify", tmp_path / "report" / "classifier", GOOD)
    assert done.status == 0, done.err


def test_finetune(converted, command, tiny_run, tmp_path):
    files = [x for split, path in tiny_run.texts.items() for x in (f"--{split}", path)]
    options = ("--epochs", 1, "--batch-size", 16, "--max-bytes", 8)
    done = command.sdjax(
        *("finetune", converted, *files, "--label-key", "label", *options),
        *("--out", tmp_path / "tuned"),
    )
    assert done.status == 0, done.err
    assert load_model(tmp_path / "tuned").meta.finetuned


def starting_from(config, checkpoint):
    config = config.copy_and_resolve_references()
    config.update({"initial_checkpoint": str(checkpoint), "train_steps": 4})
    return config


def test_training_starts_from_a_converted_model(converted, command, tiny_run, tmp_path):
    config = starting_from(tiny_run.config, converted)
    config.update({"max_learning_rate": 1e-9})  # keeps the parameters nearly unchanged
    done = command.train(config, tmp_path / "run")
    assert done.status == 0, done.err
    assert f"starts from the parameters of {converted}" in done.out
    trained, start = load_model(tmp_path / "run"), load_model(converted)
    assert trained.meta.progress["updates"] == 4
    for got, expected in zip(
        *(sorted(weights.flatten(m.params).items()) for m in (trained, start)),
        strict=True,
    ):
        np.testing.assert_allclose(got[1], expected[1], atol=1e-7)
    # The run now has checkpoints of its own, so the initial one is not read again.
    config.update({"train_steps": 8, "initial_checkpoint": str(tmp_path / "gone")})
    config.decay_steps = 8
    done = command.train(config, tmp_path / "run")
    assert done.status == 0, done.err
    assert "resumed from step 4 of 8" in done.out


def test_a_model_of_another_shape_is_refused_naming_the_difference(
    converted, command, tiny_run, tmp_path
):
    config = starting_from(tiny_run.config, converted)
    config.model.update({"hidden_size": 16, "cell": "lstm"})
    done = command.train(config, tmp_path / "run")
    words = ("cell is 'mlstm' there and 'lstm' here", "hidden_size is 8 there and 16")
    assert_refused(done, str(converted), *words)


def test_training_does_not_resume_in_a_converted_folder(
    classifier_file, command, tiny_run, tmp_path
):
    out = tmp_path / "run"
    arguments = ("convert", "--from", "nvidia", classifier_file, "--out", out)
    assert command.sdjax(*arguments).status == 0
    assert_refused(command.train(tiny_run.config, out), "corpus.fingerprint")


def test_notes_are_printed(tmp_path, command):
    path = tmp_path / "model.pt"
    save_stream(path, state_dict(nvidia_arrays(vocabulary=257)))
    out = tmp_path / "run"
    done = command.sdjax("convert", "--from", "nvidia", path, "--out", out)
    assert done.status == 0
    assert done.err == f"note: {nvidia._PADDING}\n"
    assert load_model(out).meta.source["notes"] == [nvidia._PADDING]


def test_an_existing_output_is_refused_and_unchanged(tmp_path, command, tiny_run):
    source, out = written_openai(tmp_path / "model"), tmp_path / "out"
    out.write_text("mine")
    for way in (("--from", "openai", source), ("--to", "openai", tiny_run.workdir)):
        done = command.sdjax("convert", *way, "--out", out)
        assert_refused(done, f"--out {out} exists already")
    assert out.read_text() == "mine"


@pytest.mark.parametrize("name", FORMATS)
def test_bad_input_is_a_one_line_error_and_leaves_no_files(tmp_path, command, name):
    (tmp_path / "bad").write_text("no weights")
    for path in (tmp_path / "bad", tmp_path / "missing"):
        done = command.sdjax("convert", "--from", name, path, "--out", tmp_path / "new")
        assert_refused(done, str(path))
    assert [p.name for p in tmp_path.iterdir()] == ["bad"]


def test_an_unwritable_output_leaves_no_files(tmp_path, command, tiny_run):
    for out in (tmp_path / "model", tmp_path / "model.pkl"):
        done = command.sdjax(
            "convert", "--to", "unirep", tiny_run.workdir, "--out", out
        )
        assert_refused(done, "unirep")
    done = command.sdjax(
        *("convert", "--to", "openai", "--fold", tiny_run.workdir),
        *("--out", tmp_path / "model"),
    )
    assert_refused(done, "use_weight_norm is False")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_no_files(tmp_path, command, tiny_run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    out = tmp_path / "out"
    done = command.sdjax("convert", "--to", "openai", tiny_run.workdir, "--out", out)
    assert_refused(done, f"{out}: No space left", status=1)
    assert not list(tmp_path.iterdir())


def test_the_command_line_is_checked(command, tmp_path):
    out = ("--out", tmp_path / "out")
    done = command.sdjax("convert", "--from", "keras", tmp_path, *out)
    assert_refused(done, "keras", "openai")
    done = command.sdjax("convert", tmp_path, *out)
    assert_refused(done, "--from", "--to")
    done = command.sdjax("convert", "--from", "openai", "--fold", tmp_path, *out)
    assert_refused(done, "--fold goes with --to")
