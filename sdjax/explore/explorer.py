"""A model, and perhaps its classifier, opened to be looked at text by text.

All that the page shows is a method here, which returns data or a piece of HTML.
"""

import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from sdjax.checkpoints.find import find_checkpoint
from sdjax.checkpoints.load import Loaded, load_model
from sdjax.errors import InputError
from sdjax.explore.reading import Reading, features
from sdjax.explore.usual import EXAMPLES, Usual
from sdjax.features.columns import named_unit, unit_label
from sdjax.inference.prefixes import PrefixReader, ReadyModel
from sdjax.inference.sampling import Sampling, state_index
from sdjax.inference.scoring import Scorer, sides, unit_and_state
from sdjax.inference.steering import held_unit, held_value
from sdjax.inference.streaming import stream
from sdjax.model.classifier import Classifier
from sdjax.report.coloured_text import Scale
from sdjax.report.inline_text import Html, inline_text

BYTES = 2000  # of a text that is read, unless another limit is given
_SURPRISING = 8.0  # bits of a character at which its colour saturates
_WIDE = 4.0  # the sliders reach so many times as far as the colours


class Explorer:
    """A model to look at.

    Args:
        loaded: the language model.
        classifier: on its features, and where it lies; None for the model alone.
        limit: bytes of a text that are read; longer ones are refused.

    Raises:
        InputError: the classifier was fitted on another model's features.
    """

    def __init__(
        self,
        loaded: Loaded,
        classifier: Classifier | None = None,
        *,
        limit: int = BYTES,
    ):
        if limit < 1:
            raise InputError(f"--limit {limit}: must be at least 1 byte")
        self.loaded, self.classifier, self.limit = loaded, classifier, limit
        self.normalisation = loaded.meta.normalisation
        self.scorer = None
        if classifier is not None:
            self.scorer = Scorer(classifier, loaded)
            self.normalisation = self.scorer.normalisation
        self.ready = ReadyModel.of(loaded.model, loaded.params)
        self._own = PrefixReader(self.ready)

    @classmethod
    def open(
        cls,
        checkpoint: str | Path | None = None,
        classifier: str | Path | None = None,
        *,
        precision: str | None = None,
        limit: int = BYTES,
    ) -> "Explorer":
        """Open a model.

        Args:
            checkpoint: anything that `load_model` opens; None for the one that the
                classifier names.
            classifier: its folder.
            precision: compute in this.
            limit: as of the class.

        Raises:
            InputError: as `load_model` and `Classifier.load`; or neither is given.
        """
        found = None if classifier is None else Classifier.load(classifier)
        if checkpoint is None:
            if found is None:
                raise InputError("no checkpoint and no classifier: give one of them")
            loaded = find_checkpoint(found.metadata, precision=precision)
        else:
            loaded = load_model(Path(checkpoint), precision)
        return cls(loaded, found, limit=limit)

    # -- reading

    def reader(self) -> PrefixReader:
        """Make a reader of one's own, for a text that one person is writing."""
        return PrefixReader(self.ready)

    def encode(self, text: str) -> bytes:
        """Return what the model reads of a text.

        Raises:
            InputError: it is longer than the limit, or the model cannot read it.
        """
        data = self.normalisation.encode(text)
        if len(data) > self.limit:
            raise InputError(
                f"the text has {len(data):,} bytes and at most {self.limit:,} are read"
                " here: shorten it, give --limit, or use sdjax classify --explain"
            )
        return data

    def read(self, text: str, reader: PrefixReader | None = None) -> Reading:
        """Read a text; what it has in common with the reader's last is not read again.

        Raises:
            InputError: as `encode`.
        """
        data = self.encode(text)
        return self.reading((reader or self._own).read(data))

    def reading(self, states) -> Reading:
        """Return what states that a reader found say of their text."""
        shown = self.normalisation.shown(states.data)
        if self.scorer is None:
            return Reading(shown, states, {}, ())
        row = features(states, self.classifier, self.loaded.model.hidden_size)
        score = self.scorer.judge([shown], row)[0]
        return Reading(shown, states, score.probabilities, score.called)

    def coloured(self, reading: Reading, unit: int, line: bool = True) -> Html:
        """Return a text coloured by a unit as the report colours it, with its line."""
        what = f"unit {self.label(unit)}"
        shades = self.scale(unit), self.sides(unit)
        return inline_text(reading.unit(unit), *shades, what, line=line)

    def coloured_bits(self, reading: Reading) -> Html:
        """Return a text coloured by the bits that each of its characters took."""
        scale = Scale(0.0, _SURPRISING, -1)
        ends, what = (f"{_SURPRISING:g} bits and more", "0"), "bits per character"
        return inline_text(reading.bits, scale, ends, what, line=False, one_sided=True)

    # -- units

    @cached_property
    def sentiment_unit(self) -> int | None:
        """The unit that the classifier names, in the whole state; None without one."""
        if self.classifier is None:
            return None
        try:
            _, state = unit_and_state(self.classifier)
        except InputError:  # it names none, or not the value at one byte
            return None
        if state != "cell":
            return None
        return state_index(held_unit(self.classifier), self.loaded.model)

    @cached_property
    def usual(self) -> Usual:
        """What every unit holds in the examples; they are read the first time."""
        reader = self.reader()
        reader.read(self.encode(self.examples[-1])[:1])  # compiles it
        start = time.perf_counter()
        read = [reader.read(self.encode(text)).cell for text in self.examples]
        seconds = time.perf_counter() - start
        return Usual.of(np.concatenate(read), reader.bytes_read / seconds)

    @property
    def examples(self) -> list[str]:
        """Texts to begin with, in the model's own letters."""
        return EXAMPLES[self.normalisation.codec]

    def unit(self, text: str) -> int:
        """Return a unit's index in the whole state: of "2388", or of "0:2388".

        A number alone is a unit of the last layer.

        Raises:
            InputError: the model has no such unit.
        """
        model = self.loaded.model
        place = named_unit(text.strip(), model.num_layers, model.hidden_size)
        return state_index(place, model)

    def label(self, unit: int) -> str:
        """Return what `unit` reads: the number, of a stack with its layer."""
        model = self.loaded.model
        return unit_label(unit, model.state_size, model.num_layers)

    def first_unit(self) -> int:
        """Return the sentiment unit, or else the one that moves most."""
        if self.sentiment_unit is not None:
            return self.sentiment_unit
        return int(np.argmax(self.usual.deviation))

    def scale(self, unit: int) -> Scale:
        """Return how a unit's values become colours.

        Of the sentiment unit as in the report; of others white is their mean over the
        examples, and colours saturate at 1.5 standard deviations.
        """
        if unit == self.sentiment_unit:
            return Scale.of(self.classifier.metadata["top_unit"])
        mean, deviation = self.usual.mean[unit], self.usual.deviation[unit]
        return Scale(float(mean), float(1.5 * deviation) or 1.0, +1)

    def sides(self, unit: int) -> tuple[str, str]:
        """Return the names of the two sides of a unit's scale."""
        named = unit == self.sentiment_unit
        return sides(self.classifier) if named else ("low", "high")

    def ranking(self, count: int = 20) -> list[int]:
        """Rank units by what they do in the classifier, the sentiment unit first.

        That is the weight, times the unit's standard deviation over the examples; the
        report has the ranking by the deviation over the labelled texts.

        Returns:
            Indices in the whole state; [] without a classifier.
        """
        if self.classifier is None:
            return []
        weights = np.abs(self.classifier.coef).max(axis=0)
        size, model = self.loaded.model.state_size, self.loaded.model
        if self.classifier.metadata.get("layers", "last") == "last":
            size = model.hidden_size
        by_unit = np.zeros(model.state_size)
        by_unit[-size:] = weights.reshape(-1, size).max(axis=0)
        effect = by_unit * self.usual.deviation
        order = np.argsort(-effect, kind="stable").tolist()
        first = [] if self.sentiment_unit is None else [self.sentiment_unit]
        ranked = [u for u in order if effect[u] > 0 and u not in first]
        return [*first, *ranked][:count]

    def most_active(self, reading: Reading, count: int = 10) -> list[int]:
        """Return the units that are furthest from their mean over a text's characters.

        The distance is in standard deviations over the examples.
        """
        return self.usual.most_active(reading.states.cell)[:count]

    # -- writing

    def range_of(self, unit: int) -> tuple[float, float]:
        """Return the values between which a unit may be held: very low, very high."""
        scale = self.scale(unit)
        held = self.ends(unit)
        reach = _WIDE * scale.reach
        low = min(scale.threshold - reach, *held)
        return round(low, 2), round(max(scale.threshold + reach, *held), 2)

    def ends(self, unit: int) -> tuple[float, float]:
        """Return the values to begin with: of the negative and of the positive side."""
        if unit == self.sentiment_unit:
            found = [held_value(self.classifier, side)[1] for side in "-+"]
        else:
            scale = self.scale(unit)
            found = [scale.threshold + side * 2 * scale.reach for side in (-1, 1)]
        return round(found[0], 2), round(found[1], 2)

    def write(
        self,
        prompt: str,
        unit: int,
        values: tuple[float | None, ...],
        sampling: Sampling | None = None,
    ) -> Iterator[tuple[str, ...]]:
        """Let the model write; yield the samples again and again as they grow.

        Args:
            prompt: the start of each.
            unit: that is held.
            values: at which, one for each sample; None to hold nothing.
            sampling: as for `generate`.

        Raises:
            InputError: as `generate`.
        """
        if len(prompt.encode("utf-8", "replace")) > self.limit:
            raise InputError(
                f"the prompt has more than {self.limit:,} bytes: shorten it"
            )
        place = divmod(unit, self.loaded.model.hidden_size)
        hold = [{} if value is None else {place: value} for value in values]
        for texts in stream(
            self.ready,
            self.normalisation,
            prefix=prompt,
            hold=hold,
            sampling=sampling,
        ):
            yield tuple(texts)
