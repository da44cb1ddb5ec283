"""Two layers from training to a fine-tuned classifier and held units."""

import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest
import tiny
from fixtures_run import COUNTS, assert_refused

from sdjax.checkpoints.load import load_model, model_config
from sdjax.checkpoints.manager import Checkpoints
from sdjax.checkpoints.meta import Meta, check_same_run
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.features import file as feature_file
from sdjax.features.featurizer import TextFeaturizer
from sdjax.inference import steering
from sdjax.inference.sampling import Sampling, generate
from sdjax.model.classifier import Classifier
from sdjax.model.devices import zero_carry
from sdjax.prepare import synthetic
from sdjax.training import loop
from sdjax.training.config.model import with_model
from sdjax.training.run import build_training, initial_state

H, NORMALISATION = tiny.HIDDEN, Normalisation()
TEXTS = ["A good one.", "bad", "I liked it, most of it"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A corpus, a model of two layers trained on it, and labelled texts."""
    folder = tmp_path_factory.mktemp("stacked")
    config = tiny.config(tiny.corpus(folder / "corpus").folder)
    config.model.num_layers = 2
    loop.train(config, folder / "run")
    texts = synthetic.write_labelled(folder / "labelled", tuple(COUNTS.values()), 0)
    return config, folder / "run", texts


@pytest.fixture(scope="module")
def loaded(run):
    return load_model(run[1])


def last_saved(config, workdir):
    config = with_model(config, "bytes")
    training = build_training(config, 1000)
    state = initial_state(config, training)
    carry = zero_carry(training.model, config.global_batch_size, 1)
    with Checkpoints(workdir / "checkpoints", keep_last=9) as checkpoints:
        return checkpoints.restore(checkpoints.latest, state, carry)


def test_a_stopped_run_goes_on_bit_for_bit(run, tmp_path, capsys):
    config, workdir, _ = run
    shutil.copytree(workdir, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "12")
    loop.train(config, tmp_path / "run")
    out = capsys.readouterr().out
    assert "resumed from step 8 of 12" in out and "mlstm, 2 layers of 8 units" in out
    saved = [last_saved(config, folder) for folder in (workdir, tmp_path / "run")]
    for a, b in zip(*saved, strict=True):
        tiny.assert_trees_equal(jax.tree.leaves(a), jax.tree.leaves(b))


def test_another_number_of_layers_is_refused(run, command):
    config, workdir, _ = run
    other = config.copy_and_resolve_references()
    other.model.num_layers = 1
    result = command.train(other, workdir)
    assert_refused(result, "model.num_layers is 2 there and 1 here")


def test_a_checkpoint_that_does_not_say_how_many_layers_has_one(loaded):
    assert model_config(loaded.model)["num_layers"] == 2
    one = model_config(tiny.model())
    stored = Meta(1, one, loaded.meta.normalisation).as_json()
    del stored["model"]["num_layers"]
    older = Meta.from_json(stored, "older")
    check_same_run(older, replace(older, model=one), "x")
    with pytest.raises(InputError, match="num_layers is 1 there and 2 here"):
        check_same_run(older, replace(older, model=one | {"num_layers": 2}), "x")


@pytest.mark.parametrize("state", ["cell", "hidden"])
def test_features_of_the_last_layer_are_the_last_of_those_of_all(loaded, state):
    options = {"state": state, "pooling": ["last", "mean"]}
    last = TextFeaturizer.from_loaded(loaded, **options)
    both = TextFeaturizer.from_loaded(loaded, layers="all", **options)
    of_last, of_both = last.transform(TEXTS), both.transform(TEXTS)
    assert of_last.shape == (3, 2 * H) and of_both.shape == (3, 4 * H)
    for kind in range(2):
        part = of_both[:, kind * 2 * H : (kind + 1) * 2 * H]
        np.testing.assert_array_equal(
            part[:, H:], of_last[:, kind * H : (kind + 1) * H]
        )
        assert not np.allclose(part[:, :H], part[:, H:])
    names = both.get_feature_names_out()
    assert list(last.get_feature_names_out()[:2]) == [
        f"{state}_last_0",
        f"{state}_last_1",
    ]
    assert names[0] == f"{state}_last_0:0" and names[H] == f"{state}_last_1:0"
    trace = both.trace(TEXTS[0])
    np.testing.assert_allclose(trace[-1], of_both[0, : 2 * H], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(both.trace(TEXTS[0], [H])[:, 0], trace[:, H])
    assert both.metadata()["units"] == 2 * H and last.metadata()["units"] == H
    assert (both.metadata()["layers"], last.metadata()["layers"]) == ("all", "last")


def test_layers_that_do_not_exist(run):
    with pytest.raises(InputError, match="layers 'first' do not exist.*last.*all"):
        TextFeaturizer(run[1], layers="first").transform(TEXTS)


def test_evaluate(run, command):
    config, workdir, _ = run
    done = command.sdjax("evaluate", workdir, "--corpus", config.corpus)
    assert done.status == 0, done.err
    valid = [
        json.loads(line)["valid_bpc"]
        for line in (workdir / "metrics.jsonl").read_text().splitlines()
    ]
    best = min(x for x in valid if x is not None)
    assert f"bits per character   {best:.4f}" in done.out


def test_features_of_all_layers_to_a_probe_and_to_a_held_unit(run, command, tmp_path):
    _, workdir, texts = run
    files = {}
    for split, path in texts.items():
        files[split] = tmp_path / f"{split}.npz"
        done = command.featurize(
            *("--checkpoint", workdir, "--input", path, "--output", files[split]),
            *("--text-key", "sentence", "--label-key", "label", "--layers", "all"),
        )
        assert done.status == 0, done.err
    assert feature_file.load(files["train"]).features.shape[1] == 2 * H
    arguments = [x for split, path in files.items() for x in (f"--{split}", path)]
    probed = command.sdjax("probe", *arguments, "--out", tmp_path / "probe")
    assert probed.status == 0, probed.err
    classifier = Classifier.load(tmp_path / "probe" / "classifier")
    top = classifier.metadata["top_unit"]
    unit, value = steering.held_value(classifier, "+")
    assert unit == divmod(top["index"], H)
    assert top["name"] == steering.unit_text(unit)
    out = tmp_path / "samples.jsonl"
    done = command.sdjax(
        *("generate", workdir, "--classifier", tmp_path / "probe" / "classifier"),
        *("--unit", "top=+", "--length", 8, "--out", out),
    )
    assert done.status == 0, done.err
    row = json.loads(out.read_text().splitlines()[0])
    assert row["held"] == {f"{unit[0]}:{unit[1]}": pytest.approx(value)}


def test_fine_tuning_reads_the_last_layer(run, command, tmp_path):
    _, workdir, texts = run
    out = tmp_path / "tuned"
    files = [x for split, path in texts.items() for x in (f"--{split}", path)]
    fast = ("--epochs", 1, "--batch-size", 16, "--max-bytes", 16)
    done = command.sdjax(
        *("finetune", workdir, *files, "--label-key", "label", "--out", out, *fast),
        *("--learning-rate", 0.01),
    )
    assert done.status == 0, done.err
    assert load_model(out).model.num_layers == 2
    classifier = Classifier.load(out / "classifier")
    assert classifier.coef.shape[1] == H and classifier.metadata["layers"] == "last"
    classified = command.sdjax("classify", out / "classifier", TEXTS[0])
    assert classified.status == 0, classified.err


def test_a_held_unit_of_either_layer_decides_what_is_written(loaded):
    def write(params, hold):
        sampling = Sampling(length=6, whole_length=True)
        return generate(
            loaded.model, params, NORMALISATION, hold=hold, sampling=sampling
        )

    # Only unit 3 of the last layer speaks: above 0 it says "+", below "-".
    params = jax.tree.map(np.copy, loaded.params)
    kernel, bias = np.zeros((H, 256), "f4"), np.full(256, -1e3, "f4")
    kernel[3, ord("+")], kernel[3, ord("-")] = 1e4, -1e4
    bias[[ord("+"), ord("-")]] = 0
    speaks = params | {"output": {"kernel": kernel, "bias": bias}}
    held = [{3: 4.0}, {(1, 3): 4.0}, {3: -4.0}]
    assert write(speaks, held) == [["+" * 6], ["+" * 6], ["-" * 6]]
    # It hears unit 5 of the first layer, through its update gate, and nothing else.
    above = speaks["recurrent_1"]
    above["gx"][:], above["gh"][:], above["b"][:] = 0, 0, 0
    above["wx"][:, 3 * H + 3] = 1e-3
    above["wx"][5, 3 * H + 3] = 1.0
    above["gx"][3 * H + 3] = 20.0
    low, high = write(speaks, [{(0, 5): -9.0}, {(0, 5): 9.0}])
    assert (low, high) == (["-" * 6], ["+" * 6])


@pytest.mark.parametrize(
    ("unit", "words"),
    [((2, 0), "layer 2 is not one of the model's 0..1"), ((0, 8), "unit 8 is not")],
)
def test_layers_and_units_that_do_not_exist(loaded, unit, words):
    with pytest.raises(InputError, match=words):
        generate(loaded.model, loaded.params, NORMALISATION, hold=[{unit: 1.0}])


def test_a_unit_held_under_two_names(loaded):
    hold = [{3: 1.0, (1, 3): 2.0}]
    with pytest.raises(InputError, match="unit 1:3 is held twice"):
        generate(loaded.model, loaded.params, NORMALISATION, hold=hold)


def test_units_are_written_as_they_are_given():
    held = steering.parse_holds(["5=1.5", "0:7=-2"], None)
    assert held == {5: 1.5, (0, 7): -2.0}
    assert [steering.unit_text(unit) for unit in held] == ["5", "0:7"]
    for wrong in ("a:1=2", "1:2:3=4", ":1=2"):
        with pytest.raises(InputError, match=f"--unit {wrong}"):
            steering.parse_holds([wrong], None)
