"""Unsupervised representation learning from raw text with multiplicative LSTMs."""

__all__ = ["TextFeaturizer"]


def __getattr__(name: str):
    # On first use: importing sdjax must not import jax.
    if name == "TextFeaturizer":
        from sdjax.features.featurizer import TextFeaturizer

        return TextFeaturizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
