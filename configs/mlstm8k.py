"""Twice as wide: 8192 units, fp16, 8 GPUs, one epoch of Amazon reviews.

    python train.py --config configs/mlstm8k.py --workdir runs/mlstm8k

Expected: 1.038 bits per character (Puri et al. 2018). Four times the work of
`mlstm4k`. Parameters and Adam's moments take 4.1 GB in float32 on each GPU. Not yet
timed with sdjax.
"""

from configs import mlstm4k


def get_config():
    config = mlstm4k.get_config()
    config.model.hidden_size = 8192
    return config
