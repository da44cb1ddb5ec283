"""Many strings in one array of bytes, or the hashes of many strings."""

from collections.abc import Sequence

import numpy as np
from xxhash import xxh3_128_digest

HASH_BYTES = 16


class Strings(Sequence):
    """N strings in one array of bytes, decoded when they are asked for.

    Args:
        data: uint8[bytes].
        offsets: int64[N + 1], where each string starts, and where the last one ends.
    """

    def __init__(self, data: np.ndarray, offsets: np.ndarray):
        self._data, self._offsets = data, offsets

    def __len__(self) -> int:
        return max(len(self._offsets) - 1, 0)

    def __getitem__(self, place):
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        start, end = self._offsets[place : place + 2].tolist()
        # surrogatepass: a text is kept as given, even where it is not valid Unicode.
        return self._data[start:end].tobytes().decode("utf-8", "surrogatepass")


def packed(strings: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the bytes and offsets that `Strings` takes."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in strings]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def hashes(encoded: Sequence[bytes]) -> np.ndarray:
    """Return the XXH3 hashes of texts as a model reads them, uint8[N, 16].

    They tell whether two texts are the same without the texts. They are no secret: the
    hash of a text that somebody guesses is easily compared.
    """
    joined = b"".join(map(xxh3_128_digest, encoded))
    return np.frombuffer(joined, np.uint8).reshape(-1, HASH_BYTES)
