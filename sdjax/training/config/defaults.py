"""Every key with its default: one mLSTM at the paper's settings, on one device.

The files in `configs/` are differences from this. On the command line any key can be
set with --config.key=value. A key that is None is taken from what a run starts with:
its corpus, or its `initial_checkpoint`.

Reference: Radford et al. 2017, section 3 (optimizer, windows, learning rate).
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

# The model of a run that starts from random parameters, where its config says nothing.
# Its vocabulary is the codec's.
MODEL = {
    "cell": "mlstm",
    "hidden_size": 4096,
    "embedding_size": 64,
    "num_layers": 1,
    "use_weight_norm": True,
}


def get_config() -> ConfigDict:
    config = ConfigDict()

    # Data: a folder made by `sdjax prepare`.
    config.corpus = "data/corpus"
    config.seed = 0  # of the initial parameters and the order of shards

    # The model: None stands for that of `initial_checkpoint`, or for `MODEL` above.
    config.model = ConfigDict()
    config.model.cell = placeholder(str)  # "mlstm" or "lstm"
    config.model.hidden_size = placeholder(int)  # units of a layer
    config.model.embedding_size = placeholder(int)
    config.model.num_layers = placeholder(int)  # each on top of the one before
    config.model.vocabulary_size = placeholder(int)  # symbols; at least the codec's
    config.model.use_weight_norm = placeholder(bool)  # of the recurrent matrices only
    # Bytes that units remember over at the start; 0: forget bias 1, else spread over
    # 1 to this many (Tallec & Ollivier 2018).
    config.model.memory_span = 0.0
    config.precision = "fp32"  # of matrix products: fp32, bf16 or fp16
    # Products in fp32 on a GPU: "tf32", whose operands have 10 bits of mantissa, or
    # "float32", several times slower. CPUs compute in float32 in either case.
    config.matmul_precision = "tf32"
    # Start from the parameters of this checkpoint or published model; "": from random
    # ones. A run that is resumed has its own.
    config.initial_checkpoint = ""

    # The batch: rows over all devices, each `window_size` bytes long per update.
    config.global_batch_size = 128
    config.window_size = 256

    # What becomes of a row's state between two windows, in training and when valid is
    # read: "carried" on until its shard ends, or "reset" to zero at every window.
    config.carry = "carried"

    # Length of training: epochs, unless a number of steps (batches) is given.
    config.train_epochs = 1.0
    config.train_steps = 0  # 0: by train_epochs

    # Adam; the learning rate is for a global batch of 128 and scales with the batch.
    config.base_learning_rate = 5e-4
    config.max_learning_rate = 4e-3  # cap after scaling
    config.warmup_steps = 0  # updates of linear warm-up
    config.decay_steps = 0  # updates until the rate is 0; 0: all of training
    config.clip_norm = 1.0  # of the global gradient norm
    config.adam_b1 = 0.9
    config.adam_b2 = 0.999
    config.adam_eps = 1e-8

    # The loss scale, which only fp16 uses (Micikevicius et al. 2018, section 3.2).
    config.loss_scale = ConfigDict()
    config.loss_scale.kind = "dynamic"  # or "static", or "none"
    config.loss_scale.initial = 65536.0
    config.loss_scale.growth_interval = 2000  # finite updates in a row until it grows
    config.loss_scale.growth_factor = 2.0
    config.loss_scale.backoff_factor = 0.5  # after an overflow
    config.loss_scale.floor = 1.0
    # Training stops after this many overflows in a row at a scale that cannot fall
    # further: no later update would be any different.
    config.max_overflows = 50

    # Where float32 parameters and Adam's moments are kept and updated. With "host" the
    # devices hold a copy of the parameters in the compute dtype.
    config.master_params = "device"  # or "host"
    # The dtype in which gradients are averaged over devices: "fp32", or "compute" for
    # that of `precision`, which halves the traffic (Puri et al. 2018).
    config.all_reduce_dtype = "fp32"

    # Log, evaluate and save. Every checkpoint is evaluated on all of valid.
    config.log_every_steps = 100
    config.checkpoint_every_steps = 2000
    config.keep_last_checkpoints = 3  # besides the best on valid
    config.keep_every_steps = 0  # and every multiple of this; 0: none
    config.eval_batch_size = 64  # rows of valid

    return config
