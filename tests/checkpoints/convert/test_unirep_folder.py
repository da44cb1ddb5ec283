"""UniRep's original folder of `.npy` files: the same model as the pickle, and back."""

from pathlib import Path

import numpy as np
import pytest
import tiny
from fixtures_run import assert_refused
from unirep_files import (
    SEQUENCE,
    H,
    assert_near,
    make,
    save,
    unirep_model,
    write_folder,
)

from sdjax.checkpoints.convert import unirep
from sdjax.checkpoints.convert.to_checkpoint import write_checkpoint
from sdjax.errors import InputError
from sdjax.features.featurizer import TextFeaturizer


@pytest.mark.parametrize("layers", [1, 4])
def test_it_is_the_model_of_the_pickle(layers, tmp_path):
    tree = make(layers)
    folder = write_folder(tree, tmp_path / "weights")
    of_folder = unirep.read(folder)
    of_pickle = unirep.read(save(tree, tmp_path / "weights.pkl"))
    assert of_folder.model == of_pickle.model
    assert of_folder.normalisation == of_pickle.normalisation
    tiny.assert_trees_equal(of_folder.params, of_pickle.params)
    assert len(of_folder.source["sha256"]) == 3 + 9 * layers


@pytest.mark.parametrize("layers", [1, 4])
def test_a_checkpoint_of_it_gives_the_states_of_unireps_equations(layers, tmp_path):
    tree = make(layers)
    write_checkpoint(
        unirep.read(write_folder(tree, tmp_path / "w")), tmp_path / "model"
    )
    read = ["hidden:mean", "hidden:last", "cell:last"]
    featurizer = TextFeaturizer(tmp_path / "model", pooling=read)
    (found,) = featurizer.transform([SEQUENCE])
    hiddens, cells, _ = unirep_model(tree, SEQUENCE)
    average, final, cell = np.split(found, 3)
    assert_near(average, hiddens[:, -H:].mean(axis=0))
    assert_near(final, hiddens[-1, -H:])
    assert_near(cell, cells[-1, -H:])


@pytest.mark.parametrize("layers", [1, 4])
def test_in_and_out_again_every_file_is_the_same(layers, tmp_path):
    folder = write_folder(make(layers), tmp_path / "in")
    unirep.write(*unirep.read(folder)[:3], tmp_path / "out")
    names = sorted(file.name for file in folder.iterdir())
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == names
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()


def cut_short(folder: Path) -> None:
    file = folder / "rnn_mlstm_mlstm_wh:0.npy"
    file.write_bytes(file.read_bytes()[:-9])


def without(name: str):
    return lambda folder: (folder / name).unlink()


def add(name: str):
    return lambda folder: np.save(folder / name, np.zeros(3, "f4"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut_short, ["rnn_mlstm_mlstm_wh:0.npy: cut short"]),
        (without("rnn_mlstm_mlstm_gx:0.npy"), ["mlstm.0.gx: is missing"]),
        (without("embed_matrix:0.npy"), ["embedding is missing"]),
        (without("fully_connected_biases:0.npy"), ["dense.b: is missing"]),
        (add("mlstm_layer_norm:0.npy"), ["has mlstm_layer_norm:0.npy besides"]),
        (add("rnn_mlstm_mlstm_wq:0.npy"), ["has mlstm.0.wq besides"]),
        (
            add("rnn_mlstm_stack_mlstm_stack0_mlstm_stack0_wh:0.npy"),
            ["holds two models"],
        ),
    ],
)
def test_a_spoilt_folder_is_one_line(spoil, words, command, tmp_path):
    folder = write_folder(make(1), tmp_path / "weights")
    spoil(folder)
    out = tmp_path / "x"
    result = command.sdjax("convert", "--from", "unirep", folder, "--out", out)
    assert_refused(result, str(folder), *words)
    assert not out.exists()


def test_a_folder_of_something_else(tmp_path):
    np.save(tmp_path / "0.npy", np.zeros(3))
    with pytest.raises(InputError, match="has neither .* nor UniRep's own files"):
        unirep.read(tmp_path)
