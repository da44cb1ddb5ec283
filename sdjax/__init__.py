"""Unsupervised representation learning from raw text with multiplicative LSTMs."""
