"""Encoded texts -> pooled states of the model, over all devices, in bounded memory."""

from collections.abc import Callable, Sequence
from functools import cache, partial

import jax
import numpy as np

from sdjax.features import columns
from sdjax.model import pooling
from sdjax.model.devices import AXIS, replicate, split_rows, spread, zero_carry
from sdjax.model.language_model import LanguageModel

# On a CPU the order in which a product is summed depends on how many rows it has, but
# is the same for all multiples of 64. A trained model may amplify such a difference.
_ROW_BLOCK = 64
_TRACE_CHUNK = 64  # bytes traced at once


@cache
def _compiled(
    model: LanguageModel,
    of: str | None,
    layers: str,
    devices: tuple[jax.Device, ...],
) -> Callable:
    """Compile once per model, however many checkpoints of it are read."""

    def encode(params, tokens, carry, sums, lengths):
        variables = {"params": params}
        if of is None:  # the faster loop, which keeps the last state only
            arguments = tokens, carry, lengths
            return model.apply(variables, *arguments, method="encode"), sums
        arguments = tokens, carry, sums, lengths, of, layers
        return model.apply(variables, *arguments, method="pool")

    return jax.pmap(
        encode,
        axis_name=AXIS,
        in_axes=(None, 0, 0, 0, 0),
        donate_argnums=(2, 3),
        devices=devices,
    )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _trace(model: LanguageModel, of: str, layers: str, params: dict, tokens, carry):
    return model.apply({"params": params}, tokens, carry, of, layers, method="trace")


class Encoder:
    """Read texts from a zero state and pool the state over the bytes of each.

    Texts are sorted by length and read `batch_size` at a time, `chunk_size` bytes at a
    time, so memory on the devices is bounded for texts of any length. A text's features
    depend on that text alone, in fp32 on a CPU bit for bit: not on its neighbours,
    their order, the batch size or the number of devices.

    Args:
        model: the language model.
        params: its parameters.
        of: "cell" or "hidden", the state of those `kinds` that do not say.
        layers: "last", or "all" for the states of all layers side by side.
        kinds: of "last", "mean", "max" and "min", or with the state, "hidden:mean";
            several are put side by side.
        batch_size: texts read at once, over all local devices; rounded up to 64, or a
            multiple of it, on each.
        chunk_size: bytes of each row on the devices at once.

    Reference: Radford et al. 2017, section 3.1.
    """

    def __init__(
        self,
        model: LanguageModel,
        params: dict,
        *,
        of: str = "cell",
        layers: str = "last",
        kinds: Sequence[str] = ("last",),
        batch_size: int = 64,
        chunk_size: int = 512,
        devices: Sequence[jax.Device] | None = None,
    ):
        self._model, self._of, self._layers = model, of, layers
        self._kinds = [columns.state_and_pooling(kind, of) for kind in kinds]
        self._devices = list(devices or jax.local_devices())
        block = _ROW_BLOCK * len(self._devices)
        self._rows = -(-batch_size // block) * block
        self._chunk_size = chunk_size
        self._params = replicate(params, self._devices)
        pooled = {state for state, kind in self._kinds if kind != "last"}
        # What is pooled: one state where one is enough; None for the faster loop.
        self._pooled = "both" if len(pooled) > 1 else min(pooled, default=None)
        devices = tuple(self._devices)
        self._compiled = _compiled(model, self._pooled, layers, devices)

    @property
    def units(self) -> int:
        """How many units the state has that features are made of."""
        model = self._model
        return model.state_size if self._layers == "all" else model.hidden_size

    @property
    def width(self) -> int:
        """How many features a text has."""
        return self.units * len(self._kinds)

    def encode(
        self,
        texts: Sequence[bytes],
        advance: Callable[[int], object] = lambda count: None,
    ) -> np.ndarray:
        """Return the features, float32[N, width], in the order of the texts.

        Args:
            texts: as `Normalisation.encode` gives them, at least one byte each.
            advance: called after every batch with the number of bytes read.
        """
        lengths = np.array([len(data) for data in texts], np.int64)
        features = np.empty((len(texts), self.width), np.float32)
        longest_first = np.argsort(-lengths, kind="stable")
        begun = []
        for start in range(0, len(texts), self._rows):
            rows = longest_first[start : start + self._rows]
            begun.append((rows, self._begin([texts[row] for row in rows])))
            if len(begun) == 2:  # the devices have the next batch while this is fetched
                self._finish(*begun.pop(0), lengths, features, advance)
        for batch in begun:
            self._finish(*batch, lengths, features, advance)
        return features

    def _begin(self, texts: list[bytes]):
        """Hand at most a batch of texts to the devices; return what will be the end."""
        size, count = self._chunk_size, len(self._devices)
        carry = zero_carry(self._model, self._rows, count)
        wanted = {kind for _, kind in self._kinds}
        width = self.units * (2 if self._pooled == "both" else 1)
        kept = pooling.start(wanted, self._rows, width)
        sums = jax.tree.map(lambda x: x.reshape(count, -1, x.shape[-1]), kept)
        sums = spread(sums, self._devices)
        for offset in range(0, max(map(len, texts)), size):
            tokens = np.zeros((size, self._rows), np.uint8)
            lengths = np.zeros(self._rows, np.int32)
            for row, data in enumerate(texts):
                piece = data[offset : offset + size]
                tokens[: len(piece), row] = np.frombuffer(piece, np.uint8)
                lengths[row] = len(piece)
            carry, sums = self._compiled(
                self._params,
                split_rows(tokens, count),
                carry,
                sums,
                split_rows(lengths, count),
            )
        return carry, sums

    def _finish(self, rows, end, lengths, features, advance) -> None:
        """Fetch a batch that was begun and put it in its rows of `features`."""
        carry, sums = jax.device_get(end)
        bytes_read = lengths[rows]
        parts = {
            "mean": lambda: sums.total.astype(np.float64) + sums.lost,
            "max": lambda: sums.maximum,
            "min": lambda: sums.minimum,
        }
        width = self.units
        for place, (state, kind) in enumerate(self._kinds):
            if kind == "last":
                part = getattr(carry, state)[..., -width:]
            else:  # of "both", the cell comes second
                part = parts[kind]()
                part = part[..., :width] if state == "hidden" else part[..., -width:]
            part = part.reshape(self._rows, width)[: len(rows)]
            if kind == "mean":
                part = part / bytes_read[:, None]
            features[rows, place * width : (place + 1) * width] = part
        advance(int(bytes_read.sum()))

    def trace(self, text: bytes, of: str | None = None) -> np.ndarray:
        """Return the state after every byte, float32[bytes, units].

        Args:
            of: "cell" or "hidden"; None for the state that features are of.
        """
        data = np.frombuffer(text, np.uint8)
        params = jax.tree.map(lambda x: x.addressable_data(0), self._params)
        carry = self._model.zero_state(1)
        pieces = []
        for offset in range(0, len(data), _TRACE_CHUNK):
            piece = data[offset : offset + _TRACE_CHUNK]
            # A fixed shape compiles once; what stands after the text is cut off.
            tokens = np.zeros((_TRACE_CHUNK, 1), np.uint8)
            tokens[: len(piece), 0] = piece
            states, carry = _trace(
                self._model, of or self._of, self._layers, params, tokens, carry
            )
            pieces.append(np.asarray(states[: len(piece), 0]))
        return np.concatenate(pieces)
