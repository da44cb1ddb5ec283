"""Large batches: 4096 units, 256 rows on each of 128 GPUs, three epochs.

    python train.py --config configs/mlstm4k_large_batch.py --workdir runs/large_batch

The rate is capped at 3e-3 and decays to zero over a constant 100,000 updates, however
few of them three epochs give (Puri et al. 2018, section 4). They report 4 hours on 128
V100 for 40 GB of text. A batch this size needs all of the 128 GPUs: on fewer, lower
`global_batch_size`. Not yet timed with sdjax.
"""

from sdjax.training.config.load import named


def get_config():
    config = named("mlstm4k")
    config.global_batch_size = 128 * 256
    config.train_epochs = 3.0
    config.max_learning_rate = 3e-3
    config.decay_steps = 100_000
    config.checkpoint_every_steps = 200
    config.log_every_steps = 10
    return config
