"""The many small runs of `sdjax study`: as good as a processor second makes them.

    sdjax study valid-gap synthetic --out studies/gap
    python train.py --config configs/study.py --workdir runs/study

Few rows mean many updates: with the same characters, small models were better with 8
rows of 128 bytes than with more. A core reads about 100,000 characters a second with 64
units, 45,000 with 128 and 25,000 with 256; a second core does not help a run of this
size, so two runs side by side use two cores (docs/studies.md).
"""

from sdjax.training.config import defaults


def get_config():
    config = defaults.get_config()
    config.corpus = "data/synthetic"
    config.model.hidden_size = 128
    config.global_batch_size = 8
    config.window_size = 128
    config.base_learning_rate = 6.4e-2  # 4e-3 at this batch
    config.warmup_steps = 100
    config.adam_b2 = 0.99
    config.log_every_steps = 100
    config.checkpoint_every_steps = 2000
    config.keep_last_checkpoints = 1
    return config
