"""The first run: the built-in corpus, two minutes on two CPU cores.

    sdjax prepare synthetic --shards 20/1/1 --out data/synthetic
    python train.py --config configs/quickstart.py --workdir runs/quickstart

Expected: 0.42 bits per character on valid, and a unit that follows the polarity.
"""

from sdjax.training.config import defaults


def get_config():
    config = defaults.get_config()
    config.corpus = "data/synthetic"
    # Of the seeds 0 to 4 the one whose unit holds the polarity best through a sentence;
    # all of them are in docs/results.md.
    config.seed = 3
    config.model.hidden_size = 128
    # Small batches: what decides whether one unit comes to hold the polarity is the
    # number of updates, not the number of characters (docs/results.md).
    config.global_batch_size = 8
    config.window_size = 128
    config.train_steps = 5500
    config.base_learning_rate = 6.4e-2  # 4e-3 at this batch
    config.warmup_steps = 100
    # Gradients shrink tenfold in the first hundreds of updates. A shorter memory of
    # their size keeps the steps from shrinking with them.
    config.adam_b2 = 0.99
    config.log_every_steps = 100
    config.checkpoint_every_steps = 1100
    config.keep_every_steps = 1100
    return config
