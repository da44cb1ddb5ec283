"""What a checkpoint says of itself, beside its arrays."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from sdjax.data.text import Normalisation
from sdjax.errors import Damaged, InputError, differences

FORMAT_VERSION = 1
# Older checkpoints do not say how many layers there are: one.
_OLDER_MODEL = {"num_layers": 1}
# Nor, among what decides what is read, that the state is carried between windows.
OLDER_STREAM = {"carry": "carried"}


@dataclass(frozen=True)
class Meta:
    """The origin of a checkpoint and its place in a run.

    Args:
        step: batches consumed.
        model: the settings of the model, as `model_config` gives them.
        normalisation: what is done to a text before the model reads it.
        corpus: fingerprint of the training corpus; "" where there is none.
        stream: what decides what is read, and how: global batch, window size, seed,
            carry.
        progress: totals of the run and sums since its last log record.
        config: every key of the run's config.
        total_steps: planned of the run; None where an older version saved it.
        valid_bpc: bits per character on valid; None where it was not measured.
        source: format and files of converted weights.
        finetuned: what was fine-tuned, and how.
        digests: of each array as it was saved, by item and path (`integrity`); empty in
            checkpoints of versions that had none.
    """

    step: int
    model: Mapping
    normalisation: Normalisation
    corpus: str = ""
    stream: Mapping = field(default_factory=dict)
    progress: Mapping = field(default_factory=dict)
    config: Mapping = field(default_factory=dict)
    valid_bpc: float | None = None
    source: Mapping = field(default_factory=dict)
    finetuned: Mapping = field(default_factory=dict)
    digests: Mapping = field(default_factory=dict)
    total_steps: int | None = None

    @property
    def badness(self) -> float:
        """Return `valid_bpc`, or infinity where it is not known or not finite."""
        known = self.valid_bpc is not None and math.isfinite(self.valid_bpc)
        return self.valid_bpc if known else math.inf

    def as_json(self) -> dict:
        """Return it as it is stored."""
        stored = asdict(replace(self, normalisation=None))
        stored |= {
            "normalisation": self.normalisation.as_json(),
            "corpus": {"fingerprint": self.corpus},
            "format_version": FORMAT_VERSION,
        }
        return stored

    @classmethod
    def from_json(cls, stored: Mapping, place: object) -> "Meta":
        """Read what `as_json` gave.

        Args:
            place: names the checkpoint in messages.

        Raises:
            InputError: another format.
            Damaged: a part is missing.
        """
        if (version := stored.get("format_version")) is None:
            raise Damaged(
                f"checkpoint {place}: damaged, its meta has no format_version; use"
                " another step of the run, or move this one away"
            )
        if version != FORMAT_VERSION:
            raise InputError(
                f"{place} has checkpoint format {version}, this version reads"
                f" {FORMAT_VERSION}: use the version of sdjax that wrote it"
            )
        try:
            _check_kinds(stored)
            return cls(
                step=stored["step"],
                total_steps=stored.get("total_steps"),
                model=_OLDER_MODEL | stored["model"],
                normalisation=Normalisation.from_json(stored["normalisation"]),
                corpus=stored["corpus"]["fingerprint"],
                valid_bpc=stored.get("valid_bpc"),
                **{key: stored.get(key) or {} for key in _OPTIONAL},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise Damaged(
                f"checkpoint {place}: damaged, its meta has no {error}; use another"
                " step of the run, or move this one away"
            ) from error
        except ValueError as error:
            raise Damaged(
                f"checkpoint {place}: damaged, in its meta {error}; use another step of"
                " the run, or move this one away"
            ) from error


def _check_kinds(stored: Mapping) -> None:
    """Refuse values of another kind than they are used as.

    Raises:
        ValueError: names the key and the value.
    """
    for key in ("step", "total_steps"):
        value = stored.get(key)
        missing = value is None and key != "step"
        if not missing and (type(value) is not int or value < 0):
            raise ValueError(f"{key} is {value!r}, not a count")
    value = stored.get("valid_bpc")
    if value is not None and type(value) not in (int, float):
        raise ValueError(f"valid_bpc is {value!r}, not a number")
    for key in ("model", "normalisation", *_OPTIONAL):
        value = stored.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise ValueError(f"{key} is {value!r}, not an object")


_OPTIONAL = ("stream", "progress", "config", "source", "finetuned", "digests")


def model_differences(there: Mapping, here: Mapping, prefix: str = "") -> list[str]:
    """Say in which settings two models differ, as `errors.differences`.

    Their precision may differ: parameters are float32 in all of them.
    """
    shapes = {key: value for key, value in here.items() if key != "precision"}
    return differences(there, shapes, prefix)


def check_same_run(saved: Meta, wanted: Meta, place: Path) -> None:
    """Refuse to resume a run of another model, corpus or data order.

    The precision may change, which may save a run that overflows.

    Args:
        saved: of the run's newest checkpoint.
        wanted: of the run that is asked for.
        place: the folder of the run, for the message.

    Raises:
        InputError: names each setting that differs, with both values.
    """
    found = model_differences(saved.model, wanted.model, "model.")
    other_corpus = differences(
        {"fingerprint": saved.corpus}, {"fingerprint": wanted.corpus}, "corpus."
    )
    if other_corpus:
        there, here = (m.config.get("corpus", "unknown") for m in (saved, wanted))
        other_corpus[0] += f" (config.corpus is {there} there and {here} here)"
    found += other_corpus
    found += differences(OLDER_STREAM | saved.stream, wanted.stream, "stream.")
    if found:
        raise InputError(
            f"{place} holds a run of something else: {'; '.join(found)};"
            " use another --workdir, or the settings of that run"
        )
