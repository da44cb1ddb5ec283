"""The reproduction: 4096 units, fp16, 8 GPUs, one epoch of Amazon reviews.

    sdjax prepare aggressive_dedup.json.gz --text-key reviewText --out data/amazon
    python train.py --config configs/mlstm4k.py --workdir runs/mlstm4k

128 rows a GPU. Expected on 82.8 million reviews (38 billion bytes): 1.12 bits per
character (Radford et al. 2017; Puri et al. 2018). NVIDIA's reproduction took 5.8 days
on 8 V100 (76,000 characters a second); not yet timed with sdjax.
"""

from sdjax.training.config import defaults


def get_config():
    config = defaults.get_config()
    config.corpus = "data/amazon"
    config.model.hidden_size = 4096
    config.precision = "fp16"
    config.global_batch_size = 8 * 128  # the scaling rule gives 8 x 5e-4 = 4e-3
    config.eval_batch_size = 128
    return config
