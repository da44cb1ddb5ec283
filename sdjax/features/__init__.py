"""Texts become states of a model, in memory or in a file."""
