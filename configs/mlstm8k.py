"""Twice as wide: 8192 units, fp16, 8 GPUs, one epoch of Amazon reviews.

    python train.py --config configs/mlstm8k.py --workdir runs/mlstm8k

Expected: 1.038 bits per character (Puri et al. 2018). Four times the work of
`mlstm4k`. About 14.0 GB on each GPU, 4.1 of them parameters and Adam's moments in
float32; with `master_params="host"` 11.9 GB, and 10.9 GB of the host (`--memory_on 8`).
Not yet timed with sdjax.
"""

from sdjax.training.config.load import named


def get_config():
    config = named("mlstm4k")
    config.model.hidden_size = 8192
    return config
