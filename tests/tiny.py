"""Small models, batches and corpora that several test files share."""

from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from sdjax.checkpoints.load import model_config
from sdjax.checkpoints.meta import Meta
from sdjax.data.corpus import Corpus
from sdjax.data.read_report import ReadReport
from sdjax.data.sources import counted
from sdjax.data.text import Normalisation
from sdjax.data.windows import Batch
from sdjax.model.cell import RecurrentState
from sdjax.model.language_model import LanguageModel, init_params
from sdjax.model.precision import loss_scale
from sdjax.prepare import synthetic
from sdjax.prepare.pipeline import prepare
from sdjax.training import optimizer
from sdjax.training.config import defaults
from sdjax.training.step import TrainState, create_train_state

HIDDEN, EMBEDDING = 8, 4
LEARNING_RATE = 1e-2


def model(precision: str = "fp32", **settings) -> LanguageModel:
    sizes = {"cell": "mlstm", "hidden_size": HIDDEN, "embedding_size": EMBEDDING}
    return LanguageModel(precision=precision, **(sizes | settings))


def train_state(
    language_model: LanguageModel,
    *,
    clip_norm: float = 1.0,
    **scale: float,
) -> TrainState:
    tx = optimizer.optimizer(
        optimizer.schedule(LEARNING_RATE, 0, 1000),
        clip_norm=clip_norm,
        b1=0.9,
        b2=0.999,
        eps=1e-8,
    )
    scale = loss_scale(language_model.precision, **({"initial": 2.0**10} | scale))
    params = init_params(language_model, jax.random.key(1))
    return create_train_state(language_model, tx, scale, params)


def batch(rows: int, size: int = 6, *, seed: int = 0, lengths=None) -> Batch:
    """Random bytes for `rows` rows, [T + 1, G]; the first row starts a shard."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(97, 105, (size + 1, rows), dtype=np.uint8)
    if lengths is None:
        lengths = np.full(rows, size)
    return Batch(tokens, np.asarray(lengths, np.int32), np.arange(rows) == 0)


def carry(rows: int, *, precision: str = "fp32", seed: int = 0) -> RecurrentState:
    """A random state that some earlier window might have ended in, [G, H]."""
    rng = np.random.default_rng(seed)
    hidden, cell = rng.normal(0, 0.5, (2, rows, HIDDEN)).astype(np.float32)
    return RecurrentState(
        hidden.astype(model(precision).zero_state(1).hidden.dtype), cell
    )


def fake_corpus(*shards: np.ndarray, split: str = "train") -> SimpleNamespace:
    """As much of a `Corpus` as windows need, in memory."""
    return SimpleNamespace(
        folder=Path("fake"),
        shards={split: tuple(SimpleNamespace(bytes=len(s)) for s in shards)},
        read=lambda split, index: shards[index],
    )


def corpus(folder: Path, *, reviews: int = 60, seed: int = 0) -> Corpus:
    """Prepare a few synthetic reviews: two shards of train, one of valid and test."""
    report = ReadReport()
    return prepare(
        counted(synthetic.reviews(reviews, seed), reviews, report),
        folder,
        report=report,
        source={"name": "synthetic"},
        shards=(2, 1, 1),
        progress=False,
    )


def meta(step: int = 1, **changes) -> Meta:
    """What a checkpoint of the small model says of itself."""
    settings = model_config(model())
    known = {"normalisation": Normalisation(), "corpus": "abc"}
    return Meta(step, settings, **(known | changes))


def config(corpus_folder: Path, **changes):
    """The default config at a size that trains in a second."""
    settings = defaults.get_config()
    settings.update(
        {
            "corpus": str(corpus_folder),
            "model": {"hidden_size": HIDDEN, "embedding_size": EMBEDDING},
            "global_batch_size": 8,
            "window_size": 16,
            "train_steps": 12,
            "base_learning_rate": 0.16,
            "max_learning_rate": 0.01,
            "log_every_steps": 2,
            "checkpoint_every_steps": 4,
            "eval_batch_size": 32,
        }
        | changes
    )
    return settings


def on_devices(tree, devices: int):
    """Spread the rows of a batch or carry over devices: [..., G] -> [D, ..., B].

    Independent of what train.py uses; row g goes to device g // B.
    """
    if isinstance(tree, Batch):
        tokens = jnp.stack(jnp.split(tree.tokens, devices, axis=1))
        rest = (x.reshape(devices, -1) for x in tree[1:])
        return Batch(tokens, *rest)
    return jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), tree)


def assert_trees_equal(a, b) -> None:
    """Bitwise: same structure, dtypes and values."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
