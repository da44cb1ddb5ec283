"""Sampling: continue a prefix with the model, optionally with units held at a value.

The whole loop is one compiled call on one device. Effective weights (weight norm,
casts) are computed once before it, and only the symbols are transferred back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from tqdm import tqdm

from sdjax.bounds import check_memory
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.inference import grammar
from sdjax.model.cell import loop_states, make_stack_step
from sdjax.model.devices import check_rows
from sdjax.model.language_model import LanguageModel
from sdjax.ranges import COUNT, NOT_NEGATIVE, SEED, Range

_SAMPLE_BYTES = 500  # of Python's objects for each sample, at least
_PREFIX_CHUNK = 64  # prefixes are padded to multiples of this, to compile few shapes


Unit = int | tuple[int, int]  # a unit of the last layer, or (layer, unit)


RANGES = {
    "length": COUNT,
    "temperature": NOT_NEGATIVE,
    "top_p": Range(0, 1, above=True),
    "seed": SEED,
}


@dataclass(frozen=True)
class Sampling:
    """Options of sampling.

    Args:
        length: largest number of symbols (bytes or letters) of a sample. A multi-byte
            character is only started if it fits.
        temperature: divides the logits; 0 is greedy decoding.
        top_p: nucleus sampling from the smallest set of symbols whose probabilities
            sum up to at least this.
        seed: sample n depends only on the seed and on n, not on the other samples
            (up to rounding, which differs between batch sizes).
        whole_length: continue after the end of a text instead of stopping there.

    Raises:
        InputError: a value is out of range.
    """

    length: int = 500
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    whole_length: bool = False

    def __post_init__(self):
        for name, allowed in RANGES.items():
            if (value := getattr(self, name)) not in allowed:
                raise InputError(f"{name} is {value}: it must be {allowed}")


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
    """Generate continuations of a prefix.

    The cell of a held unit is overwritten after every byte, including the bytes of the
    prefix. The hidden state of that byte was already computed by the cell update, so
    the held value takes effect at the next byte.

    Args:
        model, params: the language model.
        normalisation: of its training text; applied to the prefix too.
        prefix: the start of every sample. White space at its end becomes one blank.
        samples: number of samples for each condition.
        hold: the conditions, each a mapping unit -> value; {} holds nothing. A unit is
            a number in the last layer, or a pair (layer, number). Sample n uses the
            same random numbers under every condition.
        sampling: options of sampling.
        batch_size: rows on the device at once.
        progress: show a progress bar on standard error.

    Returns:
        For each condition its samples without the prefix: valid UTF-8, or letters of
        amino acids.

    Raises:
        InputError: the model lacks a unit, a value is not finite, or memory cannot hold
            so many samples.

    Reference: Radford et al. 2017, section 4.3; Holtzman et al. 2020 (top-p).
    """
    sampling = sampling or Sampling()
    if samples < 1 or batch_size < 1:
        raise InputError(
            f"{samples} samples, batch size {batch_size}: both must be at least 1"
        )
    each = len(hold) * (_SAMPLE_BYTES + sampling.length)
    check_memory("samples (--samples)", samples, each)
    units, values = held_values(hold, model)
    rows = [(c, n) for c in range(len(hold)) for n in range(samples)]
    batch_size = min(batch_size, len(rows))
    check_rows(model, batch_size)
    tokens, prefix_length = prefix_bytes(prefix, normalisation)
    params = jax.device_put(params, jax.local_devices()[0])
    texts: list[list[str]] = [[] for _ in hold]
    with tqdm(
        total=len(rows) * sampling.length,
        desc="generate",
        unit="ch",
        unit_scale=True,
        disable=not progress,
    ) as bar:
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            # Pad the last batch, so that only one shape is compiled.
            padded = batch + [batch[-1]] * (batch_size - len(batch))
            *_, lengths, drawn = sample(
                params,
                tokens,
                prefix_length,
                np.array([n for _, n in padded], np.uint32),
                units,
                values[:, [c for c, _ in padded]],
                sampling.length,
                sampling.length,
                room=sampling.length,
                model=model,
                normalisation=normalisation,
                **options(sampling),
            )
            lengths, drawn = jax.device_get((lengths, drawn))
            for row, (condition, _) in enumerate(batch):
                text = normalisation.shown(drawn[: lengths[row], row].tobytes())
                if lengths[row] < sampling.length:  # the text ended: remove its frame
                    text = text.removesuffix(" ")
                texts[condition].append(text)
            bar.update(len(batch) * sampling.length)
    return texts


def options(sampling: Sampling) -> dict:
    """Return what `sample` takes of the options, but for the length."""
    return {
        "seed": np.uint32(sampling.seed),
        "temperature": np.float32(sampling.temperature),
        "top_p": np.float32(sampling.top_p),
        "greedy": sampling.temperature == 0,
        "nucleus": sampling.top_p < 1,
        "whole_length": sampling.whole_length,
    }


def held_values(
    hold: Sequence[Mapping[Unit, float]], model: LanguageModel
) -> tuple[np.ndarray, np.ndarray]:
    """Return the held units and their values under each condition.

    Returns:
        (int32[K], indices into the whole state; float32[K, conditions], NaN where a
        unit is not held).
    """
    units = {unit for condition in hold for unit in condition}
    indices = sorted({state_index(unit, model) for unit in units})
    values = np.full((len(indices), len(hold)), np.nan, np.float32)
    for column, condition in enumerate(hold):
        for unit, value in condition.items():
            if not abs(value) < float(np.finfo(np.float32).max):
                name = unit_text(unit)
                raise InputError(f"unit {name}={value}: give a finite number")
            row = indices.index(state_index(unit, model))
            # With two layers, 5 and 1:5 are the same unit.
            if not np.isnan(values[row, column]):
                raise InputError(f"unit {unit_text(unit)} is held twice")
            values[row, column] = value
    return np.array(indices, np.int32), values


def state_index(unit: Unit, model: LanguageModel) -> int:
    """Return the index of a unit in the whole state, layer 0 first."""
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
    """Return a unit as on the command line: "2388" (last layer) or "0:2388"."""
    return ":".join(map(str, unit)) if isinstance(unit, tuple) else str(unit)


def prefix_bytes(prefix: str, normalisation: Normalisation) -> tuple[np.ndarray, int]:
    """Return the framed prefix, uint8[padded], and its length without padding."""
    data = normalisation.encode_prefix(prefix)
    padded = np.zeros(-(-len(data) // _PREFIX_CHUNK) * _PREFIX_CHUNK, np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    return padded, len(data)


@partial(
    jax.jit,
    static_argnames=(
        *("model", "normalisation", "room", "greedy", "nucleus", "whole_length"),
    ),
)
def sample(
    params,
    prefix,
    prefix_length,
    rows,
    units,
    values,
    length,
    until,
    carry=None,
    weights=None,
    *,
    seed,
    temperature,
    top_p,
    room,
    model,
    normalisation,
    greedy,
    nucleus,
    whole_length,
):
    """Generate symbols up to time `until`; return the loop's carry.

    Its last two parts are the length of each sample so far, int32[B] (`length` while it
    has no end), and the symbols, uint8[room, B].

    Args:
        prefix: uint8[P], the same for every row, with padding after `prefix_length`.
        rows: uint32[B], sample numbers.
        units: int32[K], indices into the whole state.
        values: float32[K, B], NaN where a unit is not held.
        length: of the longest sample, at most `room`.
        carry: of an earlier call, to go on from; None to read the prefix first.
        weights: of the layers, by `step_weights`; None to take them from `params`.
        seed, temperature, top_p: scalars.
    """
    state = model.zero_state(len(rows))
    dtype = state.hidden.dtype
    layout = model.loop_layout
    bound = model.bind({"params": params})
    weights = bound.weights() if weights is None else weights
    step = make_stack_step(weights, dtype, layout, len(rows))
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(rows)
    # Spread the values over all units here, because setting a few units inside the
    # loop would need a scatter at every step.
    held = jnp.full(state.cell.T.shape, jnp.nan).at[units].set(values)
    held = jnp.split(layout.turned(held.T), model.num_layers, layout.axis)
    table, missing = grammar.tables(normalisation, model.vocabulary_size)
    invalid, end = len(table) - 1, None if whole_length else normalisation.end
    next_state, missing = jnp.asarray(table), jnp.asarray(missing)

    def advance(states, token):  # the loop's states; [B]
        after = step(states, layout.turned(bound.embed(token)))
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
        logits = bound.logits(layout.turned(states[-1].hidden))
        after = next_state[character]  # [B, V]
        fits = missing[after] < length - time
        logits = jnp.where((after != invalid) & fits, logits, -jnp.inf)
        token = draw(logits, time)
        character = jnp.take_along_axis(after, token[:, None], axis=1)[:, 0]
        if end is not None:
            ends = jnp.where((token == end) & (ends > time), time, ends)
        drawn = drawn.at[time].set(token.astype(jnp.uint8))
        return time + 1, advance(states, token), character, ends, drawn

    def unfinished(carry):
        time, _, _, ends, _ = carry
        return (time < until) & jnp.any(ends > time)

    if carry is None:
        start = loop_states(state, model.num_layers, layout)
        carry = (
            jnp.int32(0),
            lax.fori_loop(0, prefix_length, read_prefix, start),
            jnp.full(rows.shape, grammar.START),
            jnp.full(rows.shape, length, jnp.int32),
            jnp.zeros((room, len(rows)), jnp.uint8),
        )
    return lax.while_loop(unfinished, body, carry)


def _nucleus(logits: jax.Array, top_p: jax.Array) -> jax.Array:
    """Mask all logits [B, V] outside the smallest set that reaches top_p."""
    probabilities = jax.nn.softmax(logits)
    ordered = jnp.sort(probabilities, axis=1, descending=True)
    before = jnp.cumsum(ordered, axis=1) - ordered
    smallest = jnp.where(before < top_p, ordered, jnp.inf).min(axis=1, keepdims=True)
    return jnp.where(probabilities >= smallest, logits, -jnp.inf)
