"""Sampling: the model writes on from a prefix, with units held at a value or free.

The whole loop runs on one device in one compiled call: effective weights (weight norm,
casts) are computed once before it, and only the bytes come back.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from tqdm import tqdm

from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.inference import grammar
from sdjax.model.cell import loop_states, make_stack_step
from sdjax.model.language_model import LanguageModel
from sdjax.model.precision import matmul

_PREFIX_CHUNK = 64  # prefixes are padded to multiples of it, so that few are compiled


Unit = int | tuple[int, int]  # of the last layer, or (layer, unit)


@dataclass(frozen=True)
class Sampling:
    """How to draw.

    Args:
        length: symbols of each sample at most, bytes or letters. A character of several
            bytes is only begun where it fits.
        temperature: divides the logits; 0 takes the likeliest symbol.
        top_p: draw among the fewest symbols whose probabilities sum to this.
        seed: sample n depends on it and on n, not on how many are drawn beside it
            (up to rounding, which differs between batch sizes).
        whole_length: go on after the end of a text instead of stopping there.

    Raises:
        InputError: a value that nothing can be drawn with.
    """

    length: int = 500
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    whole_length: bool = False

    def __post_init__(self):
        if self.length < 1:
            raise InputError(f"length {self.length}: must be at least 1")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(f"temperature {self.temperature}: must be 0 or above")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top-p {self.top_p}: must be above 0 and at most 1")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed {self.seed}: must be from 0 to {2**32 - 1}")


def generate(
    model: LanguageModel,
    params: dict,
    normalisation: Normalisation,
    *,
    prefix: str = "",
    samples: int = 1,
    hold: Sequence[Mapping[Unit, float]] = ({},),
    sampling: Sampling | None = None,
    batch_size: int = 64,
    progress: bool = False,
) -> list[list[str]]:
    """Let the model write on from a prefix.

    A held unit's cell is set after every byte, those of the prefix included, so that
    the model never sees another value of it; the unit's hidden value follows from its
    cell and its output gate.

    Args:
        model, params: the language model.
        normalisation: of its training text; the prefix is treated likewise.
        prefix: what each sample starts with. White space at its end is kept as one
            blank.
        samples: how many under each condition.
        hold: the conditions, unit -> value each; {} holds nothing. A number is a unit
            of the last layer, a pair (layer, number) one of any. Sample n draws the
            same random numbers under every condition.
        sampling: how to draw.
        batch_size: rows on the device at once.
        progress: show a progress bar on standard error.

    Returns:
        For each condition its samples, without the prefix: valid UTF-8, or letters of
        amino acids.

    Raises:
        InputError: a unit that the model does not have, or a value that is not finite.

    Reference: Radford et al. 2017, section 4.3; Holtzman et al. 2020 (top-p).
    """
    sampling = sampling or Sampling()
    if samples < 1 or batch_size < 1:
        raise InputError(f"{samples} samples, {batch_size} at once: at least 1 of each")
    units, values = _held(hold, model)
    rows = [(c, n) for c in range(len(hold)) for n in range(samples)]
    batch_size = min(batch_size, len(rows))
    tokens, read = _prefix_bytes(prefix, normalisation)
    params = jax.device_put(params, jax.local_devices()[0])
    written: list[list[str]] = [[] for _ in hold]
    with tqdm(
        total=len(rows) * sampling.length,
        desc="generate",
        unit="ch",
        unit_scale=True,
        disable=not progress,
    ) as bar:
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            full = batch + [batch[-1]] * (batch_size - len(batch))  # one shape
            drawn, lengths = jax.device_get(
                _write(
                    params,
                    tokens,
                    read,
                    np.array([n for _, n in full], np.uint32),
                    units,
                    values[:, [c for c, _ in full]],
                    np.uint32(sampling.seed),
                    np.float32(sampling.temperature),
                    np.float32(sampling.top_p),
                    model=model,
                    normalisation=normalisation,
                    length=sampling.length,
                    greedy=sampling.temperature == 0,
                    nucleus=sampling.top_p < 1,
                    whole_length=sampling.whole_length,
                )
            )
            for row, (condition, _) in enumerate(batch):
                text = normalisation.shown(drawn[: lengths[row], row].tobytes())
                if lengths[row] < sampling.length:  # a text ended: off with its frame
                    text = text.removesuffix(" ")
                written[condition].append(text)
            bar.update(len(batch) * sampling.length)
    return written


def _held(
    hold: Sequence[Mapping[Unit, float]], model: LanguageModel
) -> tuple[np.ndarray, np.ndarray]:
    """Return units int32[K] in the whole state and float32[K, conditions], NaN free."""
    places = sorted({_place(unit, model) for condition in hold for unit in condition})
    values = np.full((len(places), len(hold)), np.nan, np.float32)
    for column, condition in enumerate(hold):
        for unit, value in condition.items():
            if not abs(value) < float(np.finfo(np.float32).max):
                name = unit_text(unit)
                raise InputError(f"unit {name}={value}: hold it at a finite number")
            row = places.index(_place(unit, model))
            if not np.isnan(values[row, column]):  # 5 and 1:5 of two layers
                raise InputError(f"unit {unit_text(unit)} is held twice")
            values[row, column] = value
    return np.array(places, np.int32), values


def _place(unit: Unit, model: LanguageModel) -> int:
    """Return where a unit stands in the whole state."""
    last, width = model.num_layers - 1, model.hidden_size
    layer, number = unit if isinstance(unit, tuple) else (last, unit)
    if not 0 <= number < width:
        raise InputError(f"unit {number} is not one of the model's 0..{width - 1}")
    if not 0 <= layer <= last:
        raise InputError(
            f"unit {unit_text(unit)}: layer {layer} is not one of the model's 0..{last}"
        )
    return layer * width + number


def unit_text(unit: Unit) -> str:
    """Write a unit as it is given: "2388" of the last layer, "0:2388" of layer 0."""
    return ":".join(map(str, unit)) if isinstance(unit, tuple) else str(unit)


def _prefix_bytes(prefix: str, normalisation: Normalisation) -> tuple[np.ndarray, int]:
    """Return the framed prefix, uint8[padded], and how many bytes of it count."""
    data = normalisation.encode_prefix(prefix)
    padded = np.zeros(-(-len(data) // _PREFIX_CHUNK) * _PREFIX_CHUNK, np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    return padded, len(data)


@partial(
    jax.jit,
    static_argnames=(
        *("model", "normalisation", "length", "greedy", "nucleus", "whole_length"),
    ),
)
def _write(
    params,
    prefix,
    read,
    rows,
    units,
    values,
    seed,
    temperature,
    top_p,
    *,
    model,
    normalisation,
    length,
    greedy,
    nucleus,
    whole_length,
):
    """Return symbols uint8[length, B] and how many of each row count, int32[B].

    Args:
        prefix: uint8[P], the same for every row; the first `read` bytes count.
        rows: uint32[B], the samples' numbers.
        units: int32[K], in the whole state; values: float32[K, B], NaN where free.
        seed, temperature, top_p: scalars.
    """
    state = model.zero_state(len(rows))
    dtype = state.hidden.dtype
    layout = model.loop_layout
    weights = model.apply({"params": params}, method="weights")
    step = make_stack_step(weights, dtype, layout, len(rows))
    embedding = params["embedding"]["embedding"].astype(dtype)
    kernel, bias = params["output"]["kernel"], params["output"]["bias"]
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(rows)
    # Over all units and outside the loop: setting a few inside it takes a scatter.
    held = jnp.full(state.cell.T.shape, jnp.nan).at[units].set(values)
    held = jnp.split(layout.turned(held.T), model.num_layers, layout.axis)
    table, missing = grammar.tables(normalisation, model.vocabulary_size)
    refused, end = len(table) - 1, None if whole_length else normalisation.end
    next_state, missing = jnp.asarray(table), jnp.asarray(missing)

    def advance(states, token):  # the loop's states; [B]
        after = step(states, layout.turned(embedding[token.astype(jnp.int32)]))
        return tuple(
            state._replace(cell=jnp.where(jnp.isnan(value), state.cell, value))
            for state, value in zip(after, held, strict=True)
        )

    def read_prefix(time, states):
        return advance(states, jnp.full(rows.shape, prefix[time]))

    def draw(logits, time):
        if greedy:
            return logits.argmax(axis=1)
        logits = logits / temperature
        if nucleus:
            logits = _nucleus(logits, top_p)
        now = jax.vmap(partial(jax.random.fold_in, data=time))(keys)
        return jax.vmap(jax.random.categorical)(now, logits)

    def body(carry):
        time, states, character, ends, drawn = carry
        hidden = layout.turned(states[-1].hidden)
        logits = matmul(hidden, kernel, dtype, layout) + bias[None]
        after = next_state[character]  # [B, V]
        fits = missing[after] < length - time
        logits = jnp.where((after != refused) & fits, logits, -jnp.inf)
        token = draw(logits, time)
        character = jnp.take_along_axis(after, token[:, None], axis=1)[:, 0]
        if end is not None:
            ends = jnp.where((token == end) & (ends > time), time, ends)
        drawn = drawn.at[time].set(token.astype(jnp.uint8))
        return time + 1, advance(states, token), character, ends, drawn

    def unfinished(carry):
        time, _, _, ends, _ = carry
        return (time < length) & jnp.any(ends > time)

    start = loop_states(state, model.num_layers, layout)
    carry = (
        jnp.int32(0),
        lax.fori_loop(0, read, read_prefix, start),
        jnp.full(rows.shape, grammar.START),
        jnp.full(rows.shape, length),
        jnp.zeros((length, len(rows)), jnp.uint8),
    )
    *_, ends, drawn = lax.while_loop(unfinished, body, carry)
    return drawn, ends


def _nucleus(logits: jax.Array, top_p: jax.Array) -> jax.Array:
    """Rule out all but the likeliest symbols that together reach top_p: [B, V]."""
    probabilities = jax.nn.softmax(logits)
    ordered = jnp.sort(probabilities, axis=1, descending=True)
    before = jnp.cumsum(ordered, axis=1) - ordered
    smallest = jnp.where(before < top_p, ordered, jnp.inf).min(axis=1, keepdims=True)
    return jnp.where(probabilities >= smallest, logits, -jnp.inf)
