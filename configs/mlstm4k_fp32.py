"""The reproduction in float32, to compare half precision against.

    python train.py --config configs/mlstm4k_fp32.py --workdir runs/mlstm4k_fp32

Same hardware, data and expected bits per character as `mlstm4k`, in about twice its
memory for activations. Not yet timed with sdjax.
"""

from configs import mlstm4k


def get_config():
    config = mlstm4k.get_config()
    config.precision = "fp32"
    return config
