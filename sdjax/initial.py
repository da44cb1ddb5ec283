"""Parameters that a training starts from, instead of random ones."""

from pathlib import Path

from sdjax.checkpoint import load_model, model_config
from sdjax.errors import InputError
from sdjax.model import LanguageModel


def load_initial(path: Path, model: LanguageModel) -> dict:
    """Return the parameters of a checkpoint for a new training of the same model.

    Args:
        path: anything that `load_model` opens.
        model: the one to be trained, in any precision.

    Raises:
        InputError: as `load_model`; or the checkpoint is of another model: names each
            setting that differs, with both values.
    """
    loaded = load_model(path, model.precision)
    there, here = model_config(loaded.model), model_config(model)
    differences = [
        f"{key} is {there[key]!r} there and {value!r} here"
        for key, value in here.items()
        if there[key] != value
    ]
    if differences:
        raise InputError(
            f"initial_checkpoint {path} is of another model: {'; '.join(differences)};"
            " set config.model as it is there"
        )
    return loaded.params
