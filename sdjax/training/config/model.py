"""The model that a config asks for: what it leaves open is taken from elsewhere."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from sdjax.checkpoints.settings import check_setting
from sdjax.data.text import VOCABULARY_SIZES
from sdjax.errors import InputError, differences
from sdjax.model.language_model import LanguageModel
from sdjax.training.config.defaults import MODEL


def with_model(
    config: ConfigDict, codec: str, start: Mapping | None = None
) -> ConfigDict:
    """Return a copy of a config in which every key of the model has a value.

    Args:
        config: as loaded.
        codec: of the corpus.
        start: {"model": settings, "codec": its codec} of the checkpoint that the run
            starts from; None for random parameters.

    Raises:
        InputError: the config or the corpus contradicts that checkpoint: names each
            setting, with both values.
    """
    known = MODEL | {"vocabulary_size": VOCABULARY_SIZES[codec]}
    if start is not None:
        known |= {key: start["model"][key] for key in known}
        given = {k: v for k, v in config.model.items() if v is not None and k in known}
        found = differences(known, given, "model.")
        if start["codec"] is not None:
            found += differences({"codec": start["codec"]}, {"codec": codec})
        if found:
            raise InputError(
                f"initial_checkpoint {config.initial_checkpoint} is of another model:"
                f" {'; '.join(found)}; leave config.model to it, and use a corpus of"
                " its codec"
            )
    filled = config.copy_and_resolve_references()
    for key, value in known.items():
        if filled.model[key] is None:
            filled.model[key] = value
        try:
            check_setting(key, filled.model[key])
        except InputError as error:
            raise InputError(f"config.model.{error}") from error
    if (size := filled.model.vocabulary_size) < (least := VOCABULARY_SIZES[codec]):
        raise InputError(
            f"config.model.vocabulary_size is {size}: the codec {codec} of"
            f" {config.corpus} has {least} symbols; leave it out"
        )
    return filled


def build_model(config: ConfigDict) -> LanguageModel:
    """Return the model of a config `with_model`."""
    return LanguageModel(precision=config.precision, **config.model)
