"""A plain LSTM with as many parameters as `mlstm4k`, everything else equal.

    python train.py --config configs/lstm4k.py --workdir runs/lstm4k

The mLSTM has 5 H^2 recurrent weights, the LSTM 4 H^2. Of the multiples of 32 (so that
matrix tiles are full), 4576 units come closest to the 86,319,360 parameters of mlstm4k:
86,173,568, or 0.17% fewer. Radford et al. 2017 found the mLSTM to converge faster. Not
yet timed with sdjax.
"""

from sdjax.training.config.load import named


def get_config():
    config = named("mlstm4k")
    config.model.cell = "lstm"
    config.model.hidden_size = 4576
    return config
