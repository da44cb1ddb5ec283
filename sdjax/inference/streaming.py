"""Samples while they are written: the same texts as `generate`, a few bytes at a time.

Who stops asking stops the model: nothing is computed ahead.
"""

from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np

from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.inference.prefixes import ReadyModel
from sdjax.inference.sampling import (
    Sampling,
    Unit,
    held_values,
    options,
    prefix_bytes,
    sample,
)

ROOM = 1000  # the longest sample; another length compiles nothing anew
AT_ONCE = 8  # bytes between two looks at the samples


def stream(
    ready: ReadyModel,
    normalisation: Normalisation,
    *,
    prefix: str = "",
    hold: Sequence[Mapping[Unit, float]] = ({},),
    sampling: Sampling | None = None,
) -> Iterator[list[str]]:
    """Yield one sample for each condition, again and again as they grow.

    Args:
        ready: the model.
        normalisation, prefix, hold: as for `generate`.
        sampling: options; the length is at most `ROOM`.

    Yields:
        The samples so far, without the prefix; the first time they are empty, and the
        last time they are those of `generate`.

    Raises:
        InputError: as `generate`; or the length is above `ROOM`.
    """
    sampling = sampling or Sampling()
    if sampling.length > ROOM:
        raise InputError(f"length {sampling.length}: at most {ROOM:,} are streamed")
    units, values = held_values(hold, ready.model)
    tokens, prefix_length = prefix_bytes(prefix, normalisation)
    carry, until, length = None, 0, sampling.length
    while True:
        carry = sample(
            ready.params,
            tokens,
            np.int32(prefix_length),
            np.zeros(len(hold), np.uint32),  # sample 0 under every condition
            units,
            values,
            np.int32(length),
            np.int32(until),
            carry,
            ready.weights,
            room=ROOM,
            model=ready.model,
            normalisation=normalisation,
            **options(sampling),
        )
        ends, drawn = jax.device_get(carry[-2:])
        sizes = np.minimum(ends, until)
        yield [
            _text(
                drawn[:size, row].tobytes(),
                size < length and end <= until,
                normalisation,
            )
            for row, (size, end) in enumerate(zip(sizes, ends, strict=True))
        ]
        if until >= length or (ends <= until).all():
            return
        until = min(until + AT_ONCE, length)


def _text(data: bytes, ended: bool, normalisation: Normalisation) -> str:
    """Return what the symbols say, without a character that is not complete yet."""
    if normalisation.codec == "bytes":
        data = data.decode(errors="ignore").encode()
    text = normalisation.shown(data)
    return text.removesuffix(" ") if ended else text
