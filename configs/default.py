"""Every key at its default, as sdjax/training/config/defaults.py explains them."""

from sdjax.training.config.defaults import get_config as get_config
