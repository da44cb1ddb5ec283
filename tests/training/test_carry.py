"""The key `carry`: "reset" reads every window from a fresh state."""

import jax
import numpy as np
import oracle
import pytest
import tiny

from sdjax.checkpoints.stored import checkpoint_steps, read_meta
from sdjax.data.windows import Windows
from sdjax.errors import InputError
from sdjax.model.devices import AXIS
from sdjax.model.language_model import fold_weight_norm
from sdjax.training import loop
from sdjax.training.config.checks import check
from sdjax.training.evaluate import window_sums
from sdjax.training.step import train_step

SIZE, ROWS, LENGTH = 83, 2, 7
SHARDS = [
    np.random.default_rng(i).integers(97, 105, SIZE + i, dtype=np.uint8)
    for i in range(2)
]


def windows(carry: str, split: str = "train") -> Windows:
    return Windows(
        tiny.fake_corpus(*SHARDS, split=split),
        split,
        batch_size=ROWS,
        window_size=LENGTH,
        shuffle=False,
        carry=carry,
    )


def nats_from_zero(params: dict, batch) -> float:
    """The loss of one window whose rows start from zeros, in NumPy float64."""
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), fold_weight_norm(params))
    inputs = params["embedding"]["embedding"][batch.tokens[:-1]]
    zeros = np.zeros((batch.tokens.shape[1], tiny.HIDDEN))
    hiddens, _, _ = oracle.run(params["recurrent"], inputs, zeros, zeros)
    logits = hiddens @ params["output"]["kernel"] + params["output"]["bias"]
    shifted = logits - logits.max(axis=2, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))
    nats = -np.take_along_axis(log_p, batch.tokens[1:, :, None].astype(int), 2)[..., 0]
    return float(nats[np.arange(LENGTH)[:, None] < batch.lengths].sum())


def test_only_where_rows_are_reset_do_the_windows_differ():
    carried, reset = windows("carried"), windows("reset")
    assert [bool(carried[i].reset.all()) for i in range(len(carried))].count(True) == 2
    for i in range(len(carried)):
        assert reset[i].reset.all()
        np.testing.assert_array_equal(reset[i].tokens, carried[i].tokens)
        np.testing.assert_array_equal(reset[i].lengths, carried[i].lengths)
    with pytest.raises(InputError, match="carry is 'warm': use carried or reset"):
        windows("warm")


@pytest.mark.numerics
def test_evaluating_gives_each_window_the_loss_of_a_fresh_state(
    model, params, tolerances
):
    read = windows("reset", "valid")
    nats, predicted = window_sums(model, read, ROWS)(params)
    expected = [nats_from_zero(params, read[i]) for i in range(len(read))]
    np.testing.assert_allclose(nats, expected, **tolerances["oracle"])
    assert predicted.tolist() == [int(read[i].lengths.sum()) for i in range(len(read))]
    warm, _ = window_sums(model, windows("carried", "valid"), ROWS)(params)
    starts = np.cumsum([0, read.windows_of_shards[0]])
    np.testing.assert_allclose(warm[starts], nats[starts], **tolerances["float32"])
    others = np.setdiff1d(np.arange(len(read)), starts)
    assert (np.abs(warm[others] - nats[others]) > 1e-4).all()


@pytest.mark.numerics
def test_training_gives_each_window_the_loss_and_gradient_of_a_fresh_state(tolerances):
    batch = windows("reset")[3]
    state, step = (
        tiny.train_state(tiny.model()),
        jax.vmap(
            train_step, axis_name=AXIS, in_axes=(None, 0, 0), out_axes=(None, 0, None)
        ),
    )
    batch = tiny.on_devices(batch, 1)
    warm = tiny.on_devices(tiny.carry(ROWS), 1)
    cold = jax.tree.map(np.zeros_like, warm)
    one, other = (jax.jit(step)(state, carry, batch) for carry in (warm, cold))
    expected = nats_from_zero(state.params, windows("reset")[3])
    np.testing.assert_allclose(one[2].nats, expected, **tolerances["oracle"])
    tiny.assert_trees_equal(one[0].params, other[0].params)
    tiny.assert_trees_equal(one[1], other[1])


def test_a_run_is_evaluated_as_it_was_trained_and_not_resumed_otherwise(
    tmp_path, command
):
    corpus = tiny.corpus(tmp_path / "corpus")
    settings = {"train_steps": 2, "carry": "reset"}
    loop.train(tiny.config(corpus.folder, **settings), tmp_path / "run")
    evaluated = command.sdjax("evaluate", tmp_path / "run", "--corpus", corpus.folder)
    bits = read_meta(checkpoint_steps(tmp_path / "run")[-1]).valid_bpc
    assert f"bits per character   {bits:.4f}\n" in evaluated.out
    with pytest.raises(InputError, match="stream.carry is 'reset' there and 'carried'"):
        loop.train(tiny.config(corpus.folder, train_steps=2), tmp_path / "run")


def test_another_word_is_refused(tmp_path):
    with pytest.raises(InputError, match="config.carry is 'cold': use carried or rese"):
        check(tiny.config(tmp_path, carry="cold"))
