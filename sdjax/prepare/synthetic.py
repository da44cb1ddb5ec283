"""The built-in synthetic corpus: product reviews with a hidden polarity.

All opinions of a review have its polarity, with neutral sentences between them. A
byte-level language model therefore predicts the next opinion better if it remembers the
polarity. The label is stored beside the text and never written in it. Both polarities
use the same templates, so length and punctuation do not reveal the label.

The `labelled` texts are new to a model trained on the reviews, because the reviews
never use the templates of `HELD_OUT_TEMPLATES`, nor a quarter of the combinations of a
sentiment word with a noun (`is_held_out`).
"""

import csv
import functools
import hashlib
import io
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sdjax.data.sources import Example
from sdjax.files import write_whole
from sdjax.prepare.synthetic_words import (
    ASPECTS,
    CLOSINGS,
    FILLERS,
    HELD_OUT_NEUTRAL_TEMPLATES,
    HELD_OUT_TEMPLATES,
    INTENSIFIERS,
    NEUTRAL_OPENINGS,
    NEUTRAL_TEMPLATES,
    NOUNS,
    PRODUCTS,
    TRAINING_TEMPLATES,
    WORDS,
)

NEGATIVE, POSITIVE = 0, 1

_BLOCK = 1024  # reviews drawn at a time
# Groups of random numbers per review: 2 and one for each of 10 sentences.
_MAX_DRAWS = 12
_TABLE = 256  # entries of a sampling table
_NEUTRAL = 20  # per cent of the sentences of a review, openings and closings apart
_ZIPF = 0.8  # a word of rank r from 1 has weight r ** -_ZIPF


def with_article(word: str) -> str:
    """Put "a" or "an" before a word."""
    vowel = word[0] in "aeiou" and word != "useless"
    return f"{'an' if vowel else 'a'} {word}"


# What a slot of a template is filled with: a kind of word, and its form.
_SLOTS = {
    "a": ("adjective", str),
    "A": ("adjective", str.capitalize),
    "aa": ("adjective", with_article),
    "v": ("verb", str),
    "p": ("predicate", str),
    "s": ("adverb", str),
}


class _Opinions(NamedTuple):
    """What opinions of one polarity are made of."""

    templates: list[list[str]]  # cut at the slots: ["The ", "n", " is ", "a", "."]
    words: dict[str, dict[str, list[str]]]  # a sampling table by kind and noun


@functools.cache
def _held_out_pairings(noun: str) -> frozenset[str]:
    """Choose a quarter of each word list by hash, so that no list becomes empty."""

    def rank(word: str) -> bytes:
        return hashlib.blake2b(f"{word}|{noun}".encode(), digest_size=8).digest()

    lists = itertools.chain.from_iterable(WORDS.values())
    return frozenset(
        word for words in lists for word in sorted(words, key=rank)[: len(words) // 4]
    )


def is_held_out(word: str, noun: str) -> bool:
    """Tell whether the reviews never combine this sentiment word with this noun."""
    return word in _held_out_pairings(noun)


def reviews(count: int, seed: int = 0) -> Iterator[Example]:
    """Yield reviews of 5 to 12 sentences with their hidden polarity as label.

    A larger `count` appends reviews and does not change the first ones.

    Args:
        count: number of reviews.
        seed: determines all random choices.

    Returns:
        Examples with label 0.0 (negative) or 1.0 (positive), rows from 0.
    """
    opinions = _opinions(TRAINING_TEMPLATES, held_out=False)
    openings = _instances(NEUTRAL_OPENINGS)
    neutral = _instances(NEUTRAL_TEMPLATES)
    for row, draws in _draws(count, seed, stream=0):
        (product, opens, *form), (polarity, length, closes, last), *rest = draws
        product, polarity = PRODUCTS[product % len(PRODUCTS)], polarity % 2
        # Only the first sentence, an opinion or a neutral opening, names the product.
        if opens % 2:
            sentences = [_opinion(opinions[polarity], product, *form)]
        else:
            sentences = [_neutral(openings, *form).replace("{p}", product)]
        for choice, aspect, *form in rest[: 4 + length % 7]:
            if choice % 100 >= _NEUTRAL:
                aspect = ASPECTS[aspect % len(ASPECTS)]
                sentences.append(_opinion(opinions[polarity], aspect, *form))
            else:
                sentences.append(_neutral(neutral, *form))
        if closes % 2:
            sentences.append(CLOSINGS[polarity][last % len(CLOSINGS[polarity])])
        yield Example(" ".join(sentences), float(polarity), row)


def labelled(count: int, seed: int = 0) -> Iterator[Example]:
    """Yield labelled texts of 2 to 4 sentences that do not occur in `reviews`.

    All templates are held out, and all combinations of a sentiment word with a noun.
    The words and nouns themselves do occur in the reviews. The last sentence is an
    opinion; of the others a quarter are neutral. Texts may repeat.

    Args:
        count: number of texts.
        seed: determines all random choices.

    Returns:
        Examples with label 0.0 (negative) or 1.0 (positive), rows from 0.
    """
    opinions = _opinions(HELD_OUT_TEMPLATES, held_out=True)
    neutral = _instances(HELD_OUT_NEUTRAL_TEMPLATES)
    for row, draws in _draws(count, seed, stream=1):
        (polarity, length, _, _), *rest = draws
        polarity, length = polarity % 2, 2 + length % 3
        sentences = []
        for place, (choice, noun, *form) in enumerate(rest[:length], 1):
            if choice % 4 or place == length:
                noun = NOUNS[noun % len(NOUNS)]
                sentences.append(_opinion(opinions[polarity], noun, *form))
            else:
                sentences.append(_neutral(neutral, *form))
        yield Example(" ".join(sentences), float(polarity), row)


def write_labelled(
    folder: str | Path,
    counts: tuple[int, int, int] = (2000, 500, 500),
    seed: int = 0,
) -> dict[str, Path]:
    """Write labelled texts as train.csv, valid.csv and test.csv (label, sentence).

    Args:
        folder: created if it does not exist; existing files are replaced.
        counts: texts in each file. No text occurs twice, not even across files.
        seed: as for `labelled`.

    Returns:
        The path of each split.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    texts = _distinct(labelled(100 * sum(counts), seed))
    paths = {}
    for split, count in zip(("train", "valid", "test"), counts, strict=True):
        rows = [(int(e.label), e.text) for e in itertools.islice(texts, count)]
        paths[split] = folder / f"{split}.csv"
        _write_csv(paths[split], ("label", "sentence"), rows)
    return paths


def _distinct(examples: Iterator[Example]) -> Iterator[Example]:
    seen = set()
    for example in examples:
        if example.text not in seen:
            seen.add(example.text)
            yield example


def _write_csv(path: Path, header: tuple[str, ...], rows: list[tuple]) -> None:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_whole(path, table.getvalue().encode(), durable=True)


def _draws(count: int, seed: int, stream: int) -> Iterator[tuple[int, list]]:
    """Yield (row, _MAX_DRAWS lists of four random integers below 2^30)."""
    for start in range(0, count, _BLOCK):
        key = np.random.SeedSequence([seed, stream, start // _BLOCK])
        generator = np.random.Generator(np.random.Philox(key))
        block = generator.integers(2**30, size=(_BLOCK, _MAX_DRAWS, 4), dtype=np.int64)
        yield from enumerate(block[: count - start].tolist(), start)


def _neutral(instances: list[list[str]], template: int, filler: int) -> str:
    variants = instances[template % len(instances)]
    return variants[filler % len(variants)]


def _opinion(opinions: _Opinions, noun: str, form: int, word: int) -> str:
    """Fill a template; `form` and `word` are random integers that choose in it."""
    form, intensifier = divmod(form, len(INTENSIFIERS))
    values = {"n": noun, "i": INTENSIFIERS[intensifier]}
    parts, used = [], set()
    for part in opinions.templates[form % len(opinions.templates)]:
        if part in _SLOTS:
            kind, inflect = _SLOTS[part]
            table = opinions.words[kind][noun]
            word, at = divmod(word, _TABLE)
            while table[at] in used:
                at = (at + 31) % _TABLE  # an odd step reaches every entry
            used.add(table[at])
            part = inflect(table[at])
        parts.append(values.get(part, part))
    return "".join(parts)


@functools.cache
def _instances(templates: tuple[str, ...]) -> list[list[str]]:
    """Fill all slots except {p} in every combination; return one list per template."""
    fillers = {name: values.split(", ") for name, values in FILLERS.items()}
    instances = []
    for template in templates:
        slots = [name for name in fillers if f"{{{name}}}" in template]
        instances.append(
            [
                template.format(p="{p}", **dict(zip(slots, values, strict=True)))
                for values in itertools.product(*(fillers[slot] for slot in slots))
            ]
        )
    return instances


def _opinions(
    templates: tuple[str, ...], held_out: bool
) -> tuple[_Opinions, _Opinions]:
    """Return what opinions are made of, for each polarity."""
    cut = [re.split(r"[{}]", template) for template in templates]
    return tuple(
        _Opinions(cut, _words_by_kind(polarity, held_out))
        for polarity in (NEGATIVE, POSITIVE)
    )


def _words_by_kind(polarity: int, held_out: bool) -> dict[str, dict[str, list[str]]]:
    """Return a sampling table of words for every kind and noun."""
    return {
        kind: {noun: _table(words[polarity], noun, held_out) for noun in NOUNS}
        for kind, words in WORDS.items()
    }


def _table(words: list[str], noun: str, held_out: bool) -> list[str]:
    """Return the words allowed with this noun, repeated in proportion to weight."""
    allowed = [
        (word, rank**-_ZIPF)
        for rank, word in enumerate(words, 1)
        if is_held_out(word, noun) == held_out
    ]
    bounds = np.cumsum([weight for _, weight in allowed])
    bounds = np.rint(bounds * _TABLE / bounds[-1]).astype(int)
    counts = np.diff(bounds, prepend=0).tolist()
    return [w for (w, _), n in zip(allowed, counts, strict=True) for _ in range(n)]
