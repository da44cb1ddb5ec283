"""Half precision in trouble: what overflows costs one update, and never the run."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import sdjax.training.parallel
from sdjax.checkpoints.load import checkpoint_steps, load_model
from sdjax.data.windows import Windows
from sdjax.errors import InputError
from sdjax.model.devices import AXIS, zero_carry
from sdjax.training import loop
from sdjax.training.evaluate import evaluator
from sdjax.training.metrics import read_metrics
from sdjax.training.optimizer import optimizer, schedule
from sdjax.training.parallel import split_batch
from sdjax.training.step import create_train_state, train_step

STEPS, REPLICAS, ROWS, SIZE = 200, 2, 4, 16
WITHIN = 0.005  # bits per character


KINDS = ("state", "logits", "gradient")


def breaking(apply_fn, broken, variables, tokens, carry, reset):
    """Run the model; what `broken` numbers overflows on the second replica alone."""
    here = jnp.where(jax.lax.axis_index(AXIS) == 1, broken, -1)

    def inf_if(chosen, values):  # where it is added, the gradient breaks too
        return values + jnp.where(chosen, jnp.inf, 0).astype(values.dtype)

    @jax.custom_vjp
    def same(params):
        return params

    def backward(_, gradient):
        return (jax.tree.map(lambda g: inf_if(here == 2, g), gradient),)

    same.defvjp(lambda params: (params, None), backward)
    hidden = carry.hidden.at[0].set(inf_if(here == 0, carry.hidden[0]))
    carry = carry._replace(hidden=hidden)
    out = apply_fn({"params": same(variables["params"])}, tokens, carry, reset)
    logits = out["logits"].at[:, 0].set(inf_if(here == 1, out["logits"][:, 0]))
    return out | {"logits": logits}


def breakable_step(state, carry, batch, broken):
    apply_fn = state.apply_fn
    state = state.replace(apply_fn=partial(breaking, apply_fn, broken))
    state, carry, metrics = train_step(state, carry, batch)
    return state.replace(apply_fn=apply_fn), carry, metrics


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tiny.corpus(tmp_path_factory.mktemp("overflow") / "corpus", reviews=600)


def train_all(corpus, precision: str, broken: np.ndarray):
    """Train several runs at once, the same but for what breaks in them.

    Args:
        broken: int32[STEPS, runs], a number of `KINDS` or -1.

    Returns:
        Bits per character on valid, [runs]; skipped and rows_zeroed, [STEPS, runs].
    """
    model, runs = tiny.model(precision, hidden_size=16), broken.shape[1]
    windows = Windows(corpus, "train", batch_size=ROWS, window_size=SIZE, seed=0)
    batches = [split_batch(windows[step], REPLICAS) for step in range(STEPS)]
    batches = jax.tree.map(lambda *x: np.stack(x), *batches)
    tx = optimizer(schedule(1e-2, 0, STEPS), clip_norm=1.0, b1=0.9, b2=0.999, eps=1e-8)
    start = tiny.train_state(model)
    start = create_train_state(model, tx, start.loss_scale, start.params)
    carry = jax.device_get(zero_carry(model, ROWS, REPLICAS))
    start, carry = jax.tree.map(lambda x: np.stack([x] * runs), (start, carry))
    replicas = jax.vmap(
        breakable_step,
        axis_name=AXIS,
        in_axes=(None, 0, 0, None),
        out_axes=(None, 0, None),
    )
    together = jax.vmap(replicas, in_axes=(0, 0, None, 0))

    def body(before, now):
        *after, metrics = together(*before, *now)
        return after, (metrics.skipped, metrics.rows_zeroed)

    (state, _), counts = jax.jit(partial(jax.lax.scan, body))(
        [start, carry], (batches, broken)
    )
    valid = Windows(corpus, "valid", batch_size=ROWS, window_size=SIZE, shuffle=False)
    evaluate = evaluator(model, valid, ROWS)
    each = [jax.tree.map(lambda x, i=i: x[i], state.params) for i in range(runs)]
    return [evaluate(params) for params in each], *map(np.asarray, counts)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_after_an_overflow_training_ends_where_it_would_have_ended(corpus, precision):
    """The first run is undisturbed, in each of the others something breaks once."""
    windows = Windows(corpus, "train", batch_size=ROWS, window_size=SIZE, seed=0)
    # What is padding may break without harm.
    whole = [n for n in range(20, STEPS - 20) if (windows[n].lengths == SIZE).all()]
    at = np.random.default_rng(0).choice(whole, len(KINDS))
    broken = np.full((STEPS, 1 + len(KINDS)), -1, np.int32)
    broken[at, 1 + np.arange(len(KINDS))] = np.arange(len(KINDS))
    (expected, *bits), skipped, zeroed = train_all(corpus, precision, broken)
    print(precision, expected, *zip(KINDS, at, bits, strict=True))
    assert expected < 4  # it has learnt something: it began at 8
    np.testing.assert_array_equal(skipped, broken >= 0)
    np.testing.assert_array_equal(zeroed, broken == KINDS.index("state"))
    assert max(abs(b - expected) for b in bits) < WITHIN


def break_gradients(monkeypatch, *steps: int):
    """Let the gradient of `train.py`'s own step overflow at some steps."""

    def step(state, carry, batch, all_reduce_dtype):
        now = jnp.any(state.step == jnp.array(steps))
        broken = jnp.where(now, KINDS.index("gradient"), -1)
        return breakable_step(state, carry, batch, broken)

    monkeypatch.setattr(sdjax.training.parallel, "train_step", step)


def half_config(corpus, **changes):
    """Twelve steps in fp16 on two devices, each one logged."""
    scale = {"initial": 8.0, "growth_interval": 3, "floor": 2.0}
    settings = {
        "precision": "fp16",
        "loss_scale": scale,
        "log_every_steps": 1,
    }
    return tiny.config(corpus.folder, **(settings | changes))


def train_on_two(config, workdir):
    loop.train(config, workdir, jax.local_devices()[:REPLICAS])


def logged(workdir, key: str) -> list:
    return [record[key] for record in read_metrics(workdir / "metrics.jsonl")]


def test_the_loss_scale_of_a_run_is_the_one_written_out_by_hand(
    corpus, tmp_path, monkeypatch
):
    """It doubles after 3 finite updates in a row, halves at once, and has a floor."""
    break_gradients(monkeypatch, 4, 5, 6)
    train_on_two(half_config(corpus), tmp_path)
    by_hand = [8, 8, 8, 16, 16, 8, 4, 2, 2, 2, 4, 4]
    assert logged(tmp_path, "loss_scale") == by_hand
    assert logged(tmp_path, "skipped") == [0, 0, 0, 0, 1, 2, 3, 3, 3, 3, 3, 3]
    assert logged(tmp_path, "grad_norm")[4:7] == [None] * 3  # JSON has no infinity


def test_a_run_that_overflows_for_good_stops_and_can_be_saved(
    corpus, tmp_path, monkeypatch
):
    config = half_config(corpus, max_overflows=3, checkpoint_every_steps=2)
    with monkeypatch.context() as broken:
        break_gradients(broken, *range(5, 12))
        with pytest.raises(InputError) as stopped:
            train_on_two(config, tmp_path)
    # 16 at step 6, then 8 and 4, and 2 three times.
    for words in ("3 updates in a row", "steps 9 to 11", "scale of 2 ", "norm was 0."):
        assert words in str(stopped.value)
    assert "\n" not in str(stopped.value)
    steps = [int(path.name) for path in checkpoint_steps(tmp_path)]
    assert steps == [4, 6, 8]  # none since it was stuck
    params = load_model(tmp_path).params
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(params))
    # What the message says to try: another precision, from the same folder.
    config.precision = "bf16"
    train_on_two(config, tmp_path)
    assert logged(tmp_path, "loss_scale")[-4:] == [1] * 4
    assert logged(tmp_path, "step") == list(range(1, 13))
    assert load_model(tmp_path).model.precision == "bf16"
