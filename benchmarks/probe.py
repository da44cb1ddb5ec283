"""The probe's sweep in processes against the same nine fits one after another.

    python benchmarks/probe.py --texts 6920 --units 4096 --workers 2

Both are timed in turn, `--repeats` times, on features of the size of binary SST with a
4,096-unit model: noise, and a few units that follow the label. The weights have to be
the same to the last bit. Prints each pair of times, their ratio, and the median ratio.
"""

import argparse
import statistics
import time

import numpy as np

from sdjax.sweep import STRENGTHS, Split, fit_strengths


def made(texts: int, units: int, seed: int = 0) -> Split:
    """Labelled features: every unit noise of its own width, 16 that know a little."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, texts)
    features = random.standard_normal((texts, units), np.float32)
    features[:, :16] += 0.25 * (2 * labels - 1)[:, None].astype(np.float32)
    features *= np.exp(random.normal(-1, 1, units)).astype(np.float32)
    return Split(features, labels, labels[:, None])


def timed(train: Split, workers: int) -> tuple[float, np.ndarray]:
    """Seconds of wall time, and the weights at every strength."""
    start = time.perf_counter()
    fitted = fit_strengths(train, STRENGTHS, workers)
    return time.perf_counter() - start, np.stack([fits[0].weights for fits in fitted])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=6920)
    parser.add_argument("--units", type=int, default=4096)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    timed(made(64, 8), arguments.workers)  # starts the processes
    train, ratios = made(arguments.texts, arguments.units), []
    for _ in range(arguments.repeats):
        together, weights = timed(train, arguments.workers)
        alone, expected = timed(train, 1)
        assert np.array_equal(weights, expected), "the weights differ"
        ratios.append(alone / together)
        print(
            f"one after another {alone:.1f} s, in {arguments.workers} processes "
            f"{together:.1f} s, ratio {ratios[-1]:.2f}, same weights",
            flush=True,
        )
    print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
