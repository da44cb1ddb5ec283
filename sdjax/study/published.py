"""What others published about size: on other corpora, and with other budgets."""

from typing import NamedTuple


class Published(NamedTuple):
    """One published model.

    units: of its only layer.
    bits: per character on held-out Amazon reviews; None where none was given.
    accuracy: of a classifier on its features, test of SST (binary); None likewise.
    source: who published it.
    """

    units: int
    bits: float | None
    accuracy: float | None
    source: str


_REPRODUCTION = "NVIDIA sentiment-discovery, README"

# The reproduction gives the error of SST in percent: 46.8, 18.2, 8.2 and 6.3. All were
# trained on Amazon reviews, 40 GB of text, for an epoch or more.
MODELS = (
    *(
        Published(units, None, round(1 - error / 100, 4), _REPRODUCTION)
        for units, error in ((256, 46.8), (1024, 18.2), (4096, 8.2), (8192, 6.3))
    ),
    Published(4096, 1.12, 0.918, "Radford et al. 2017"),
)
