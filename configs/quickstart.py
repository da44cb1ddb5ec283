"""The first run: the built-in corpus, under three minutes on two CPU cores.

    sdjax prepare synthetic --shards 20/1/1 --out data/synthetic
    python train.py --config configs/quickstart.py --workdir runs/quickstart

Expected: 0.43 bits per character on valid, and a unit that follows the polarity.
"""

from sdjax.training.config import defaults


def get_config():
    config = defaults.get_config()
    config.corpus = "data/synthetic"
    config.model.hidden_size = 256
    # With units that can remember from the start, one of them comes to hold the
    # polarity; with a forget bias of 1 it is spread over many (docs/results.md).
    config.model.memory_span = 100.0
    config.global_batch_size = 32
    config.window_size = 128
    config.train_steps = 1400
    config.base_learning_rate = 1.6e-2  # 4e-3 at this batch
    config.warmup_steps = 100
    config.log_every_steps = 25
    config.checkpoint_every_steps = 200
    config.keep_every_steps = 200
    return config
