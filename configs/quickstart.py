"""The first run: the built-in corpus, three minutes on two CPU cores.

sdjax prepare synthetic --out data/synthetic
python train.py --config configs/quickstart.py --workdir runs/quickstart
"""

from configs import default


def get_config():
    config = default.get_config()
    config.corpus = "data/synthetic"
    config.model.hidden_size = 256
    config.global_batch_size = 32
    config.window_size = 128
    config.train_steps = 1500
    config.base_learning_rate = 1.2e-2
    config.log_every_steps = 25
    config.checkpoint_every_steps = 250
    config.keep_every_steps = 250
    return config
