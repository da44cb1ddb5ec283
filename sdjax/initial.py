"""Parameters that a training starts from, instead of random ones."""

from pathlib import Path

from sdjax.checkpoint import differences, load_model, model_config
from sdjax.errors import InputError
from sdjax.model.language_model import LanguageModel


def load_initial(path: Path, model: LanguageModel) -> dict:
    """Return the parameters of a checkpoint for a new training of the same model.

    Args:
        path: anything that `load_model` opens.
        model: the one to be trained, in any precision.

    Raises:
        InputError: as `load_model`; or the checkpoint is of another model: names each
            setting that differs, with both values.
    """
    loaded = load_model(path)
    found = differences(model_config(loaded.model), model_config(model))
    if found:
        raise InputError(
            f"initial_checkpoint {path} is of another model: {'; '.join(found)};"
            " set config.model as it is there"
        )
    return loaded.params
