"""The reproduction in bfloat16: no loss scale needed; for A100 and newer.

    python train.py --config configs/mlstm4k_bf16.py --workdir runs/mlstm4k_bf16

Same hardware, data and expected bits per character as `mlstm4k`. Not yet timed with
sdjax.
"""

from sdjax.training.config.load import named


def get_config():
    config = named("mlstm4k")
    config.precision = "bf16"
    return config
