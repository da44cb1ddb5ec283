from configs import default


def get_config():
    config = default.get_config()
    config.corpus = "data/imdb"
    config.model.hidden_size = 512
    config.global_batch_size = 32
    config.window_size = 128
    config.train_epochs = 2.0
    config.base_learning_rate = 1.2e-2
    config.log_every_steps = 50
    config.checkpoint_every_steps = 2000
    return config
