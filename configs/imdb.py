"""IMDB on one small machine: 25,000 reviews, about an hour on two CPU cores.

    sdjax prepare imdb_reviews_train.jsonl.gz --text-key reviewText --label-key label \\
        --strip-tags --shards 48/1/1 --out data/imdb
    python train.py --config configs/imdb.py --workdir runs/imdb

`sdjax prepare tfds:imdb_reviews` makes the same reviews without a file of your own.
docs/results.md has what it reaches.
"""

from sdjax.training.config import defaults


def get_config():
    config = defaults.get_config()
    config.corpus = "data/imdb"
    config.model.hidden_size = 512
    config.global_batch_size = 32
    config.window_size = 128
    config.train_epochs = 1.5
    config.base_learning_rate = 8e-3  # 2e-3 at this batch
    config.warmup_steps = 100
    config.log_every_steps = 50
    config.checkpoint_every_steps = 1000
    config.keep_every_steps = 2000
    return config
