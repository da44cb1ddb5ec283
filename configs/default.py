"""Every key with its default: one mLSTM at the paper's settings, on one device.

The other configs are differences from this one. On the command line any key can be
set with --config.key=value.

Reference: Radford et al. 2017, section 3 (optimizer, windows, learning rate).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()

    # Data: a folder made by `sdjax prepare`.
    config.corpus = "data/corpus"
    config.codec = "bytes"  # of the corpus; or "protein"
    config.seed = 0  # of the initial parameters and the order of shards

    config.model = ConfigDict()
    config.model.cell = "mlstm"  # or "lstm"
    config.model.hidden_size = 4096  # units of a layer
    config.model.embedding_size = 64
    config.model.num_layers = 1  # recurrent layers, each on top of the one before
    config.model.vocabulary_size = 0  # symbols; 0: as many as the codec has
    config.model.use_weight_norm = True  # on the recurrent layer's matrices only
    # Bytes that units remember over at the start; 0: forget bias 1, else spread over
    # 1 to this many (Tallec & Ollivier 2018).
    config.model.memory_span = 0.0
    config.precision = "fp32"  # of matrix products: fp32, bf16 or fp16
    # Of products in fp32 on a GPU: "tf32", whose operands have 10 bits of mantissa, or
    # "float32", several times slower. CPUs compute in float32 in either case.
    config.matmul_precision = "tf32"
    # Start from the parameters of this checkpoint, of a model of the same shape, or
    # published model; "": from random ones. A run that is gone on with has its own.
    config.initial_checkpoint = ""

    # The batch: rows over all devices, each `window_size` bytes long per update.
    config.global_batch_size = 128
    config.window_size = 256

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
    # Updates in a row that may overflow where the scale cannot fall; then training
    # stops, because it would go on like that for ever.
    config.max_overflows = 50

    # float32 parameters and Adam's moments: on each device, or in the host's memory,
    # where they are updated, and the devices get a copy in the compute dtype.
    config.master_params = "device"  # or "host"
    # In which the devices' gradients are averaged: "fp32", or "compute" for that of
    # `precision`, half the traffic (Puri et al. 2018).
    config.all_reduce_dtype = "fp32"

    # Log, evaluate and save. Every checkpoint is evaluated on all of valid.
    config.log_every_steps = 100
    config.checkpoint_every_steps = 2000
    config.keep_last_checkpoints = 3  # besides the best on valid
    config.keep_every_steps = 0  # and every multiple of this; 0: none
    config.eval_batch_size = 64  # rows that valid is read in

    return config
