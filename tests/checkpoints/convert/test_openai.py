"""OpenAI's folder of arrays: the same numbers as its own equations, there and back."""

import numpy as np
import pytest
import tiny
from foreign import every_step, openai_arrays, random_params, run_openai

from sdjax.checkpoints.convert import openai
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.model.cell import RecurrentState

TOKENS = np.random.default_rng(1).integers(0, 256, (20, 3), dtype=np.uint8)


def written(folder, arrays):
    folder.mkdir()
    for index, array in enumerate(arrays):
        np.save(folder / f"{index}.npy", array)
    return folder


def assert_same_as(imported, expected, cell, hidden, tolerance):
    """Logits, hidden and cell at every step."""
    state = RecurrentState(hidden.astype(np.float32), cell.astype(np.float32))
    for got, wanted in zip(every_step(imported, TOKENS, state), expected, strict=True):
        np.testing.assert_allclose(got, wanted, **tolerance)


@pytest.mark.parametrize("shorten", ["no column", "a short column", "a zero column"])
def test_every_step_is_that_of_its_own_equations(tmp_path, tolerances, shorten):
    arrays = openai_arrays()
    if shorten == "a short column":  # below what l2_normalize divides by
        arrays[3][:, 2] *= 1e-8
    elif shorten == "a zero column":
        arrays[3][:, 2] = 0
    rng = np.random.default_rng(2)
    cell, hidden = rng.normal(0, 0.5, (2, 3, 8))
    expected = run_openai(arrays, TOKENS, cell, hidden)
    imported = openai.read(written(tmp_path / "model", arrays))
    assert np.std(expected[0]) > 0.5  # not all the same
    assert_same_as(imported, expected, cell, hidden, tolerances["oracle"])


def test_out_and_in_again_is_the_same_bit_for_bit(tmp_path):
    model = tiny.model()
    params = random_params(model)
    openai.write(model, params, Normalisation(), tmp_path / "out")
    again = openai.read(tmp_path / "out")
    assert again.model == model
    assert again.normalisation == Normalisation(cleaning="openai")
    tiny.assert_trees_equal(again.params, params)


def test_in_and_out_again_is_the_same_bit_for_bit(tmp_path):
    arrays = openai_arrays()
    imported = openai.read(written(tmp_path / "in", arrays))
    openai.write(*imported[:3], tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 15
    for index, array in enumerate(arrays):
        again = np.load(tmp_path / "out" / f"{index}.npy")
        assert again.dtype == array.dtype
        np.testing.assert_array_equal(again, array)


def test_the_source_names_the_files(tmp_path):
    source = openai.read(written(tmp_path / "in", openai_arrays())).source
    assert source["format"] == "openai"
    assert list(source["sha256"]) == [f"{index}.npy" for index in range(15)]


@pytest.mark.parametrize(
    ("index", "change", "words"),
    [
        (3, lambda a: a[:-1], ("3.npy", "shape (7, 8)", "expected (8, 8)")),
        (0, lambda a: a[:-1], ("0.npy", "(255, 4)", "expected (256, any)")),
        (9, lambda a: a[None], ("9.npy", "(1, 32)", "expected (32,)")),
        (13, lambda a: a.astype("f8"), ("13.npy", "float64", "expected float32")),
        (1, lambda a: np.where(a > 1, np.nan, a), ("1.npy", "values are not finite")),
        (8, lambda a: np.where(a > 0, np.inf, a), ("8.npy", "values are not finite")),
        (5, lambda a: a.astype(object), ("5.npy", "not an array of numbers")),
    ],
)
def test_a_wrong_array_is_refused_by_name(tmp_path, index, change, words):
    arrays = openai_arrays()
    arrays[index] = change(arrays[index])
    with pytest.raises(InputError) as refused:
        openai.read(written(tmp_path / "model", arrays))
    for word in words:
        assert word in str(refused.value)


def test_a_missing_array_a_short_file_and_a_file_are_refused(tmp_path):
    folder = written(tmp_path / "model", openai_arrays())
    whole = (folder / "7.npy").read_bytes()
    for content, words in (
        (whole[:-5], ("7.npy: cut short",)),
        (whole[:20], ("7.npy: cut short",)),
        (b"", ("7.npy: cut short",)),
        (b"no array at all", ("7.npy", "not an array")),
    ):
        (folder / "7.npy").write_bytes(content)
        with pytest.raises(InputError) as refused:
            openai.read(folder)
        assert all(word in str(refused.value) for word in words)
    (folder / "7.npy").unlink()
    with pytest.raises(InputError, match=r"7\.npy: is missing; expected 0\.npy to 14"):
        openai.read(folder)
    with pytest.raises(InputError, match="not a folder"):
        openai.read(folder / "0.npy")


def test_a_pickle_in_an_array_is_not_run(tmp_path):
    folder = written(tmp_path / "model", openai_arrays())

    class Evil:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    np.save(folder / "4.npy", np.array([Evil()], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"4\.npy"):
        openai.read(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"cell": "lstm"}, "cell is 'lstm'"),
        ({"use_weight_norm": False}, "use_weight_norm is False"),
        ({"vocabulary_size": 26}, "vocabulary_size is 26"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(tmp_path, settings, word):
    model = tiny.model(**settings)
    params = random_params(model)
    with pytest.raises(InputError, match=word):
        openai.write(model, params, Normalisation(), tmp_path / "out")
    assert not list(tmp_path.iterdir())
