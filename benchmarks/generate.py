"""Many samples at once against the same samples one by one."""

from typing import NamedTuple

from benchmarks.interleave import interleave, ratio, spread
from benchmarks.train import untrained
from sdjax.data.text import Normalisation
from sdjax.inference.sampling import Sampling, generate


class Row(NamedTuple):
    """One variant; `ratio` is the time of one by one over that of all at once."""

    variant: str
    hidden_size: int
    samples: int
    length: int
    chars_per_second: float
    ratio: float | None
    ratio_quartiles: tuple[float, float] | None


def measure(
    hidden_size: int, samples: int, length: int, rounds: int, singles: int = 8
) -> list[Row]:
    """Draw samples at once and one by one, in turn; compilation is not counted.

    Args:
        hidden_size: of a model with random weights; speed does not depend on them.
        samples: how many.
        length: bytes of each.
        rounds: timed passes.
        singles: how many are drawn one by one; their time is scaled to all samples.
    """
    model, params = untrained(hidden_size)
    sampling = Sampling(length=length, whole_length=True)

    def draw(samples: int, batch_size: int) -> None:
        generate(
            model,
            params,
            Normalisation(),
            samples=samples,
            sampling=sampling,
            batch_size=batch_size,
        )

    variants = {
        "at once": lambda: draw(samples, samples),
        "one by one": lambda: draw(singles, 1),
    }
    seconds = interleave(variants, rounds, warm_up=1)
    seconds["one by one"] = [s * samples / singles for s in seconds["one by one"]]
    rows = []
    for name, times in seconds.items():
        faster = None
        if name == "at once":
            faster = ratio(seconds["one by one"], times)
        rows.append(
            Row(
                name,
                hidden_size,
                samples,
                length,
                samples * length / spread(times)[0],
                faster and faster[0],
                faster and faster[1:],
            )
        )
    return rows
