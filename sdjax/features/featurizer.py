"""Texts -> features: the scikit-learn transformer over a trained model."""

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from tqdm import tqdm

from sdjax.checkpoints.load import Loaded, fingerprint, load_model
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.features.arrow_texts import of_arrow
from sdjax.features.columns import LAYERS, STATES, feature_names, pooling_kinds
from sdjax.features.encoder import Encoder
from sdjax.model.language_model import LanguageModel


class TextFeaturizer(TransformerMixin, BaseEstimator):
    """Turn texts into states of a trained model: float32[N, units * poolings].

    A text is normalised and framed as in training and read from a zero state; half a
    surrogate pair is read as U+FFFD, an empty text is the frame alone, three bytes. A
    model of proteins reads a start and the letters, without a stop. The
    transformer learns nothing from the texts that it is fitted on: `fit` checks them
    and the parameters and loads the checkpoint. Pickled, it is its parameters; the
    checkpoint is read again when it is next used.

    Args:
        checkpoint: a run's folder (its best checkpoint), one checkpoint, a published
            folder, or the name of weights that were downloaded, such as "openai".
        state: "cell" or "hidden".
        pooling: "last", "mean", "max" or "min" over the bytes of the framed text, or a
            list of these, put side by side; each may name its state, as "hidden:mean".
        layers: of a stack, "last", or "all" for all layers' states side by side, layer
            0 first.
        batch_size: texts read at once, over all devices; rounded up to 64, or a
            multiple of it, on each, so that it changes no feature.
        normalise: "review", "openai" or "none" (bytes as they are) instead of what the
            model was trained with.
        precision: compute in "fp32", "bf16" or "fp16" instead of what the model was
            trained in.
        progress: show a progress bar on standard error.

    Reference: Radford et al. 2017, section 3.1.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        state: str = "cell",
        pooling: str | Sequence[str] = "last",
        layers: str = "last",
        batch_size: int = 64,
        normalise: str | None = None,
        precision: str | None = None,
        progress: bool = False,
    ):
        self.checkpoint = checkpoint
        self.state = state
        self.pooling = pooling
        self.layers = layers
        self.batch_size = batch_size
        self.normalise = normalise
        self.precision = precision
        self.progress = progress

    @classmethod
    def from_pretrained(cls, checkpoint: str | Path, **options) -> "TextFeaturizer":
        """Make one and load its checkpoint; `options` as for the class."""
        featurizer = cls(checkpoint, **options)
        featurizer._ready()
        return featurizer

    @classmethod
    def from_loaded(cls, loaded: Loaded, **options) -> "TextFeaturizer":
        """Make one from a model that `load_model` read."""
        precision = loaded.model.precision
        featurizer = cls(str(loaded.path), precision=precision, **options)
        featurizer._use(loaded)
        return featurizer

    @property
    def model(self) -> LanguageModel:
        """The language model, without its parameters."""
        return self._ready()._model

    @property
    def normalisation(self) -> Normalisation:
        """What is done to a text before it is read: as in training."""
        return self._ready()._normalisation

    @property
    def units(self) -> int:
        """How many units the state has that features are made of."""
        return self._ready()._encoder.units

    @property
    def width(self) -> int:
        """How many features a text has."""
        return self._ready()._encoder.width

    def metadata(self) -> dict:
        """Return where the features come from, as a features file keeps it, JSON-able.

        Returns:
            checkpoint, step, params_sha256, units, state, pooling, precision,
            normalisation; of a stack of layers also num_layers and layers.
        """
        kinds = list(pooling_kinds(self.pooling))
        origin, count = self._ready()._origin, self.model.num_layers
        stacked = {"num_layers": count, "layers": self.layers} if count > 1 else {}
        return {
            **origin,
            "state": self.state,
            "pooling": kinds if len(kinds) > 1 else kinds[0],
            **stacked,
        }

    def identity(self) -> dict:
        """Return what features depend on, but not where the model is kept."""
        place = ("checkpoint", "checkpoint_name", "step")
        return {k: v for k, v in self.metadata().items() if k not in place}

    def fit(self, texts: Iterable[str], y=None) -> "TextFeaturizer":
        """Check the texts and the parameters, and load the checkpoint.

        Raises:
            InputError: as `transform`; or the texts can be read only once, so that
                nothing would be left to transform.
        """
        if isinstance(texts, Iterator):
            raise InputError(
                f"fit reads the texts before transform does, and {_shown(texts)} can be"
                " read only once: give a list, or call fit_transform"
            )
        check_texts(texts)
        return self._ready()

    def fit_transform(self, texts: Iterable[str], y=None) -> np.ndarray:
        """Return the features as `transform` does; the texts are read once."""
        texts = check_texts(texts)
        return self.fit(texts, y).transform(texts)

    def transform(self, texts: Iterable[str]) -> np.ndarray:
        """Return the features, float32[N, units * poolings], in the order of the texts.

        Args:
            texts: strings, not normalised: a list, a tuple, a pandas Series, an array.

        Raises:
            InputError: what is given is not such a sequence of strings, one of them
                cannot be read by the model's codec, or a parameter of this transformer
                is wrong.
        """
        texts = check_texts(texts)
        return self.transform_bytes(self.normalisation.encode_all(texts))

    def transform_bytes(self, encoded: Sequence[bytes], advance=None) -> np.ndarray:
        """Return the features of texts that `normalisation.encode` framed.

        Args:
            advance: called after every batch with the number of bytes read.
        """
        encoder = self._ready()._encoder
        if advance is not None:
            return encoder.encode(encoded, advance)
        total = sum(map(len, encoded))
        hide = not self.progress
        with tqdm(
            total=total, desc="featurize", unit="ch", unit_scale=True, disable=hide
        ) as bar:
            return encoder.encode(encoded, bar.update)

    def trace(
        self,
        text: str,
        units: Iterable[int] | None = None,
        state: str | None = None,
    ) -> np.ndarray:
        """Return the state after every byte of the framed text.

        Args:
            text: one string.
            units: keep only these, in this order; None keeps all. Of a stack they are
                numbered as the features are: within the last layer, or through all.
            state: "cell" or "hidden"; None for this transformer's.

        Returns:
            float32[bytes, `units` or len(units)], with bytes as in
            `normalisation.encode(text)`.

        Raises:
            InputError: the text is no string, or there is no such unit.
        """
        if not isinstance(text, str):
            raise InputError(f"trace takes one string, not {_shown(text)}")
        columns = slice(None) if units is None else self._units(units)
        encoded = self.normalisation.encode(text)
        return self._ready()._encoder.trace(encoded, state)[:, columns]

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Return a name for every feature, such as "cell_last_2388".

        With all layers of a stack, "cell_last_0:2388" is unit 2388 of layer 0.
        """
        layers = self.model.num_layers if self.layers == "all" else 1
        names = feature_names(self.state, self.pooling, self.units, layers)
        return np.array(names, object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.requires_fit = False
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return True  # there is nothing to learn

    def __getstate__(self) -> dict:
        state = super().__getstate__()
        kept = {*self.get_params(deep=False), "_sklearn_version"}
        return {key: value for key, value in state.items() if key in kept}

    def _ready(self) -> "TextFeaturizer":
        """Load the checkpoint, unless it is what the parameters ask for already."""
        if self.__dict__.get("_loaded_for") != self._wanted():
            self._use(load_model(Path(self.checkpoint), self.precision))
        return self

    def _wanted(self) -> tuple:
        """Check the parameters; return those that the encoder depends on."""
        if not isinstance(self.checkpoint, str | Path):
            raise InputError(
                f"checkpoint {self.checkpoint!r} is not a path; give a run's folder or"
                " <run>/checkpoints/<step>"
            )
        if self.state not in STATES:
            raise InputError(f"state {self.state!r} does not exist: use {list(STATES)}")
        if self.layers not in LAYERS:
            raise InputError(f"layers {self.layers!r} do not exist: use {list(LAYERS)}")
        size = self.batch_size
        if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 1:
            raise InputError(f"batch_size {size!r} must be an integer of at least 1")
        kinds = pooling_kinds(self.pooling)
        read = self.state, self.layers, kinds, int(size), self.normalise
        return str(self.checkpoint), *read, self.precision

    def _use(self, loaded: Loaded) -> None:
        wanted = self._wanted()
        _, of, layers, kinds, batch_size, normalise, _ = wanted
        self._model = loaded.model
        self._normalisation = loaded.meta.normalisation.cleaned_by(normalise)
        self._encoder = Encoder(
            loaded.model,
            loaded.params,
            of=of,
            layers=layers,
            kinds=kinds,
            batch_size=batch_size,
        )
        self._origin = {
            "checkpoint": str(loaded.path),
            **({"checkpoint_name": loaded.name} if loaded.name else {}),
            "step": loaded.meta.step,
            "params_sha256": fingerprint(loaded.params),
            "units": self._encoder.units,
            "precision": loaded.model.precision,
            "normalisation": self._normalisation.as_json(),
        }
        self._loaded_for = wanted

    def _units(self, units: Iterable[int]) -> list[int]:
        width, columns = self.units, []
        for unit in units:
            try:
                column = operator.index(unit)
            except TypeError:
                column = -1
            if not 0 <= column < width:
                raise InputError(
                    f"unit {unit} is not one of the model's 0..{width - 1}"
                )
            columns.append(column)
        return columns


def options_of(metadata: Mapping) -> dict:
    """Return the options of a featurizer that reads texts as some features were made.

    Args:
        metadata: of the features, or of a classifier on them.
    """
    keys = ("state", "layers", "pooling")
    options = {key: value for key in keys if (value := metadata.get(key))}
    cleaned = Normalisation.from_json(metadata.get("normalisation") or {})
    if "normalisation" in metadata and cleaned.codec == "bytes":
        options["normalise"] = cleaned.cleaning
    return options


def check_texts(texts: Iterable[str]) -> list[str]:
    """Return texts as a list of strings.

    Args:
        texts: a list, a tuple, any other iterable, a NumPy array, a pandas Series; or
            a column of Arrow's, which polars, DuckDB and others give, too.

    Raises:
        InputError: one string, a table, or something in it that is no string; names the
            position.
    """
    one = isinstance(texts, str | bytes | Mapping | Set)
    arrow = any(hasattr(texts, f"__arrow_c_{kind}__") for kind in ("array", "stream"))
    if one or not (arrow or isinstance(texts, Iterable)):
        raise InputError(f"texts must be a list of strings, not {_shown(texts)}")
    shape = getattr(texts, "shape", (0,))
    if len(shape) != 1:
        raise InputError(
            f"texts have shape {tuple(shape)}; give one column: a list of strings"
        )
    texts = list(texts) if not arrow else of_arrow(texts)
    wrong = [place for place, text in enumerate(texts) if not isinstance(text, str)]
    if wrong:
        raise InputError(
            f"text {wrong[0]} is {_shown(texts[wrong[0]])}, not a string"
            f" ({len(wrong):,} of {len(texts):,} are not); drop or replace them"
        )
    return texts


def _shown(value: object) -> str:
    shown = repr(value)
    shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
    return f"{shown} ({type(value).__name__})"
