"""Texts -> features: the state of a trained model after the last byte of each text."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from sdjax.checkpoint import Loaded, load_model
from sdjax.devices import devices_for, replicate, split_rows, zero_carry
from sdjax.errors import InputError
from sdjax.model import LanguageModel
from sdjax.step import AXIS
from sdjax.text import Normalisation

_TRACE_CHUNK = 64  # bytes traced at once


@cache
def _encoder(model: LanguageModel, devices: tuple[jax.Device, ...]) -> Callable:
    """Compile once per model, however many checkpoints of it are read."""

    def encode(params, tokens, carry, lengths):
        variables = {"params": params}
        return model.apply(variables, tokens, carry, lengths, method="encode")

    return jax.pmap(
        encode,
        axis_name=AXIS,
        in_axes=(None, 0, 0, 0),
        donate_argnums=2,
        devices=devices,
    )


@partial(jax.jit, static_argnums=0)
def _trace(model: LanguageModel, params: dict, tokens: jax.Array, carry):
    return model.apply({"params": params}, tokens, carry, method="trace")


class TextFeaturizer:
    """Turn texts into the cell state after their last byte, from a zero state.

    A text is normalised and framed as in training. Texts are sorted by length and read
    `batch_size` at a time, `chunk_size` bytes at a time, so memory is bounded for texts
    of any length. A text's features depend on that text alone: bit for bit at one batch
    size, up to the order in which products are summed between batch sizes.

    Args:
        model: the language model.
        params: its parameters.
        normalisation: what was done to the text in training.
        batch_size: rows read at once, over all devices.
        chunk_size: bytes of each row on the devices at once.

    Reference: Radford et al. 2017, section 3.1.
    """

    def __init__(
        self,
        model: LanguageModel,
        params: dict,
        normalisation: Normalisation,
        *,
        batch_size: int = 64,
        chunk_size: int = 512,
    ):
        self.model, self.normalisation = model, normalisation
        self._batch_size, self._chunk_size = batch_size, chunk_size
        self._devices = devices_for(batch_size)
        self._params = replicate(params, self._devices)
        self._encode = _encoder(model, tuple(self._devices))

    @classmethod
    def from_loaded(cls, loaded: Loaded, **options) -> "TextFeaturizer":
        """Make one from a model that `load_model` read."""
        normalisation = Normalisation.from_json(loaded.meta["normalisation"])
        return cls(loaded.model, loaded.params, normalisation, **options)

    @classmethod
    def from_pretrained(
        cls, checkpoint: str | Path, precision: str | None = None, **options
    ) -> "TextFeaturizer":
        """Make one from a run's folder (its best checkpoint) or from one checkpoint.

        Args:
            checkpoint: the folder, as for `load_model`.
            precision: compute in this instead of what the model was trained in.
            options: batch_size, chunk_size.
        """
        return cls.from_loaded(load_model(Path(checkpoint), precision), **options)

    def transform(self, texts: Sequence[str], progress: bool = False) -> np.ndarray:
        """Return the features, float32[N, H], in the order of the texts.

        Args:
            texts: strings, not normalised.
            progress: show a progress bar on standard error.
        """
        encoded = [self.normalisation.encode(text) for text in texts]
        lengths = np.array([len(data) for data in encoded], np.int64)
        features = np.empty((len(texts), self.model.hidden_size), np.float32)
        longest_first = np.argsort(-lengths, kind="stable")
        with tqdm(
            total=int(lengths.sum()),
            desc="featurize",
            unit="ch",
            unit_scale=True,
            disable=not progress,
        ) as bar:
            for start in range(0, len(texts), self._batch_size):
                rows = longest_first[start : start + self._batch_size]
                features[rows] = self._final_cells([encoded[row] for row in rows])
                bar.update(int(lengths[rows].sum()))
        return features

    def _final_cells(self, encoded: list[bytes]) -> np.ndarray:
        """Read at most a batch of encoded texts; return float32[len(encoded), H]."""
        size, count = self._chunk_size, len(self._devices)
        carry = zero_carry(self.model, self._batch_size, count)
        for offset in range(0, max(map(len, encoded)), size):
            tokens = np.zeros((size, self._batch_size), np.uint8)
            lengths = np.zeros(self._batch_size, np.int32)
            for row, data in enumerate(encoded):
                piece = data[offset : offset + size]
                tokens[: len(piece), row] = np.frombuffer(piece, np.uint8)
                lengths[row] = len(piece)
            carry = self._encode(
                self._params,
                split_rows(tokens, count),
                carry,
                split_rows(lengths, count),
            )
        cell = jax.device_get(carry.cell)
        return cell.reshape(self._batch_size, -1)[: len(encoded)]

    def trace(self, text: str, units: Sequence[int] | None = None) -> np.ndarray:
        """Return the cell after every byte of the framed text.

        Args:
            text: one string.
            units: keep only these, in this order; None keeps all.

        Returns:
            float32[bytes, H or len(units)], with bytes as in
            `normalisation.encode(text)`.

        Raises:
            InputError: there is no such unit.
        """
        width = self.model.hidden_size
        columns = slice(None) if units is None else list(units)
        for unit in units or ():
            if not 0 <= unit < width:
                raise InputError(
                    f"unit {unit} is not one of the model's 0..{width - 1}"
                )
        data = np.frombuffer(self.normalisation.encode(text), np.uint8)
        params = jax.tree.map(lambda x: x.addressable_data(0), self._params)
        carry = self.model.zero_state(1)
        pieces = []
        for offset in range(0, len(data), _TRACE_CHUNK):
            piece = data[offset : offset + _TRACE_CHUNK]
            # A fixed shape compiles once; what stands after the text is cut off.
            tokens = np.zeros((_TRACE_CHUNK, 1), np.uint8)
            tokens[: len(piece), 0] = piece
            cells, carry = _trace(self.model, params, tokens, carry)
            pieces.append(np.asarray(cells[: len(piece), 0])[:, columns])
        return np.concatenate(pieces)
