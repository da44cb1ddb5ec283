"""What every unit knows: which one follows each property of texts, and how well."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
from tqdm import tqdm

from sdjax.checkpoints.load import Loaded
from sdjax.data.text import Normalisation
from sdjax.errors import InputError
from sdjax.features.columns import STATES
from sdjax.features.states import read_states
from sdjax.inference.units.choice import Choice, Reader, choose, pieces_of
from sdjax.inference.units.held_out import HeldOut
from sdjax.inference.units.profile import Profiles
from sdjax.inference.units.properties import YES_NO, Property
from sdjax.inference.units.questions import Questions
from sdjax.inference.units.samples import Samples
from sdjax.inference.units.texts import ReadText, blocks, halves
from sdjax.portable import checkpoint_shown
from sdjax.report.unit_findings import (
    Candidate,
    Findings,
    PropertyFinding,
    UnitProfile,
)

_FOLLOWED = 5  # properties that a unit's profile names


def find_units(
    loaded: Loaded,
    texts: Iterable[str],
    *,
    columns: Mapping[str, Sequence[float]] | None = None,
    patterns: Mapping[str, str] | None = None,
    units: Sequence[int] = (),
    state: str = "cell",
    normalise: str | None = None,
    permutations: int = 20,
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = False,
) -> Findings:
    """Find the unit that follows each property best, alone, character by character.

    A unit is chosen on about half of the texts and scored on the others. The model
    reads the texts of the choice twice and the others once, and what is held of them is
    bounded, but for the texts themselves.

    Args:
        loaded: a model, as `load_model` reads it. Of a stack, all layers' units.
        texts: strings, not normalised; at least two with a character.
        columns: name -> one number for each text as a whole: a label, or an amount.
            Two different numbers make it a yes-or-no property, yes the larger one.
        patterns: name -> regular expression; the property holds at its matches.
        units: indices of units that get a profile besides the best ones.
        state: "cell" or "hidden".
        normalise: as for `TextFeaturizer`.
        permutations: how often the properties are moved to other characters, to see how
            good the best of all units is by chance.
        seed: of the choice of texts and of the permutations.
        batch_size: texts read at once.
        progress: show a bar on standard error.

    Raises:
        InputError: there are fewer than two texts, a column has another length or
            holds no numbers, an argument is wrong, a state is not finite, or no
            property is left.
    """
    if permutations < 1:
        raise InputError(f"permutations is {permutations}: use at least 1")
    if state not in STATES:
        raise InputError(f"state {state!r} does not exist: use {list(STATES)}")
    model, texts = loaded.model, list(texts)
    columns = {name: list(values) for name, values in (columns or {}).items()}
    extra = [_checked(unit, model.state_size) for unit in units]
    normalisation = loaded.meta.normalisation.cleaned_by(normalise)
    used = _read(texts, columns, normalisation)
    questions = Questions.of(*halves(used, seed), patterns or {}, columns)
    reader = partial(
        read_states,
        model,
        loaded.params,
        of=state,
        layers="all",
        batch_size=batch_size,
    )
    chosen, held_out = questions.chosen, questions.held_out
    sizes = tuple(sum(len(t.text) for t in some) for some in (chosen, held_out))
    with tqdm(
        total=2 * sizes[0] + sizes[1],
        desc="units",
        unit="ch",
        unit_scale=True,
        disable=not progress,
    ) as bar:
        choice = choose(
            chosen,
            questions.in_texts,
            [p.kind for p in questions.asked],
            questions.known[0],
            reader,
            permutations=permutations,
            seed=seed,
            advance=bar.update,
        )
        findings, profiles = _held_out(questions, choice, extra, reader, bar.update)
    return Findings(
        checkpoint=loaded.name or checkpoint_shown({"checkpoint": str(loaded.path)}),
        step=loaded.meta.step,
        state=state,
        units=model.state_size,
        num_layers=model.num_layers,
        texts=(len(chosen), len(held_out)),
        characters=sizes,
        empty=len(texts) - len(used),
        seed=seed,
        properties=findings,
        left_out=questions.left_out,
        profiles=profiles,
    )


def _checked(unit: int, units: int) -> int:
    if not 0 <= unit < units:
        raise InputError(f"unit {unit} is not one of the model's 0..{units - 1}")
    return int(unit)


def _read(
    texts: Sequence[str],
    columns: Mapping[str, Sequence[float]],
    normalisation: Normalisation,
) -> list[ReadText]:
    """Return the texts that have a character, with their values of the columns."""
    for name, values in columns.items():
        if len(values) != len(texts):
            raise InputError(
                f"column {name!r} has {len(values):,} values for {len(texts):,} texts"
            )
        if not np.isfinite(np.asarray(values, float)).all():
            raise InputError(f"column {name!r} has values that are not finite numbers")
    rows = zip(*columns.values(), strict=True) if columns else [()] * len(texts)
    pairs = zip(texts, rows, strict=True)
    read = [ReadText.of(text, normalisation, row) for text, row in pairs]
    used = [text for text in read if text.text]
    if len(used) < 2:
        raise InputError(
            f"{len(used)} texts with a character: give at least two, one to choose"
            " units on and one to score them on"
        )
    return used


def _held_out(
    questions: Questions,
    choice: Choice,
    extra: Sequence[int],
    reader: Reader,
    advance: Callable[[int], object],
) -> tuple[list[PropertyFinding], list[UnitProfile]]:
    """Read the texts that were held out: the scores and what the chosen units do."""
    asked = questions.asked
    candidates = [_two_best(scores) for scores in choice.scores.T]
    pairs = [(unit, i) for i, units in enumerate(candidates) for unit in units]
    order = sorted({*extra, *(unit for unit, _ in pairs)})
    kinds = [p.kind for p in asked]
    scores = HeldOut(pairs, kinds, questions.known[1], choice.bins)
    profiles = Profiles(order, choice.means[order], choice.deviations[order])
    samples = [Samples() for _ in asked]
    for block in blocks(questions.held_out, questions.in_texts):
        states = np.empty((len(order), block.characters), np.float32)
        for values, places in pieces_of(block, reader, units=np.array(order)):
            states[:, places] = values
            advance(len(places))
        scores.add(order, states, block.values)
        for text, here in block.spans():
            profiles.add(text, states[:, here])
        for i, sample in enumerate(samples):
            sample.look(block, block.values[i], states[order.index(candidates[i][0])])
    findings = [
        _finding(i, asked[i], candidates[i], choice, scores, questions, samples[i])
        for i in range(len(asked))
    ]
    follows = [_followed(choice.scores[unit], asked) for unit in order]
    return findings, profiles.finish(follows)


def _two_best(scores: np.ndarray) -> list[int]:
    """Return the unit with the largest score, whatever its sign, and the next."""
    return np.argsort(-np.abs(scores), kind="stable")[:2].tolist()


def _finding(
    place: int,
    asked: Property,
    units: Sequence[int],
    choice: Choice,
    scores: HeldOut,
    questions: Questions,
    samples: Samples,
) -> PropertyFinding:
    yes_no, known = asked.kind == YES_NO, questions.known[1][place]
    candidates = []
    for unit in units:
        rises = bool(choice.scores[unit, place] >= 0)
        value, error = scores.score((unit, place))
        turned = value if rises else (1 - value if yes_no else -value)
        candidates.append(Candidate(unit, rises, turned, error))
    if yes_no:
        no, yes = scores.class_means((units[0], place))
        middle, reach = (no + yes) / 2, abs(yes - no) / 2
    else:
        middle, reach = choice.means[units[0]], 1.5 * choice.deviations[units[0]]
    return PropertyFinding(
        name=asked.name,
        what=asked.what,
        yes_no=yes_no,
        mean=known.counts[1] / known.counts.sum() if yes_no else known.mean,
        best=candidates[0],
        runner_up=candidates[1] if len(candidates) > 1 else None,
        chance=choice.chance[:, place] + (0.5 if yes_no else 0),
        samples=samples.finish(asked.kind, float(middle), float(reach) or 1.0, known),
    )


def _followed(scores: np.ndarray, asked: Sequence[Property]) -> list[tuple[str, float]]:
    """Return the properties that a unit follows best; yes or no as 2 AUC - 1."""
    sizes = [
        2 * score if p.kind == YES_NO else score
        for score, p in zip(scores, asked, strict=True)
    ]
    order = np.argsort(-np.abs(sizes), kind="stable")[:_FOLLOWED]
    return [(asked[i].name, float(sizes[i])) for i in order]
