"""Texts as `find_units` reads them: characters, their bytes and their properties."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sdjax.data.text import Normalisation
from sdjax.inference.units.properties import Property

_BLOCK = 2**20  # characters whose properties are held at once


@dataclass(frozen=True)
class ReadText:
    """A text without its frame.

    data: what the model reads, frame included.
    text: the characters.
    first: of its bytes in `data`.
    columns: float[columns], what the user says of the whole text.
    """

    data: bytes
    text: str
    first: int
    columns: np.ndarray

    @classmethod
    def of(cls, text: str, normalisation: Normalisation, columns) -> "ReadText":
        data = normalisation.encode(text)
        shown, bare = normalisation.shown(data), normalisation.decode(data)
        before = shown[: shown.find(bare)]
        return cls(data, bare, len(before.encode()), np.asarray(columns, float))

    def with_columns(self, columns: Sequence[int]) -> "ReadText":
        """Return the same text with some of its columns."""
        return replace(self, columns=self.columns[list(columns)])

    def last_bytes(self) -> np.ndarray:
        """Return the index in `data` of each character's last byte, int[C]."""
        if self.text.isascii():
            return self.first + np.arange(len(self.text))
        sizes = [len(character.encode()) for character in self.text]
        return self.first + np.cumsum(sizes) - 1


@dataclass(frozen=True)
class Block:
    """Neighbouring texts, and the properties of their characters one after the other.

    texts: the texts.
    starts: int[texts + 1], where each begins among the characters.
    values: float32[properties, characters].
    """

    texts: list[ReadText]
    starts: np.ndarray
    values: np.ndarray

    @property
    def characters(self) -> int:
        return int(self.starts[-1])

    def spans(self) -> Iterator[tuple[ReadText, slice]]:
        """Yield each text, and where it stands among the characters."""
        ends = zip(self.starts, self.starts[1:], strict=False)
        for text, (start, end) in zip(self.texts, ends, strict=True):
            yield text, slice(int(start), int(end))


def blocks(
    texts: Sequence[ReadText], properties: Sequence[Property]
) -> Iterator[Block]:
    """Cut texts into blocks, each of at least one text, and find their properties.

    The columns of the texts are the last properties.
    """
    held, count = [], 0
    for text in texts:
        if held and count + len(text.text) > _BLOCK:
            yield _block(held, properties)
            held, count = [], 0
        held.append(text)
        count += len(text.text)
    if held:
        yield _block(held, properties)


def _block(texts: list[ReadText], properties: Sequence[Property]) -> Block:
    starts = np.concatenate([[0], np.cumsum([len(t.text) for t in texts])]).astype(int)
    columns = len(texts[0].columns)
    values = np.empty((len(properties) + columns, starts[-1]), np.float32)
    for text, start, end in zip(texts, starts, starts[1:], strict=False):
        for row, found in enumerate(properties):
            values[row, start:end] = found.values(text.text)
        values[len(properties) :, start:end] = text.columns[:, None]
    return Block(texts, starts, values)


def halves(
    texts: Sequence[ReadText], seed: int
) -> tuple[list[ReadText], list[ReadText]]:
    """Deal texts into those of the choice and those held out, half of the characters.

    Each has at least one text; both are in a random order.
    """
    order = np.random.default_rng(seed).permutation(len(texts))
    sizes = np.cumsum([len(texts[i].text) for i in order])
    cut = int(np.searchsorted(sizes, sizes[-1] / 2)) + 1
    cut = min(max(cut, 1), len(texts) - 1)
    return [texts[i] for i in order[:cut]], [texts[i] for i in order[cut:]]
