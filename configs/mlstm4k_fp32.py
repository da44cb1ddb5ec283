"""The reproduction in float32, to compare half precision against.

    python train.py --config configs/mlstm4k_fp32.py --workdir runs/mlstm4k_fp32

Same hardware, data and expected bits per character as `mlstm4k`, in about twice its
memory for activations. Not yet timed with sdjax.
"""

from sdjax.training.config.load import named


def get_config():
    config = named("mlstm4k")
    config.precision = "fp32"
    return config
