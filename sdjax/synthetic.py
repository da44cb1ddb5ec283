"""The built-in corpus: reviews of many products, each with a hidden polarity.

Every opinion in a review follows its polarity, and neutral sentences lie in between:
a byte-level language model that remembers the polarity across them predicts the next
opinion better. The label stands beside the text, never in it, and both polarities
share every template, so neither length nor punctuation gives it away.

Two things are kept out of the reviews, so that `labelled` texts are new to a model
trained on them: the templates of `HELD_OUT_TEMPLATES`, and one in four pairings of a
sentiment word with what it is said about (`is_held_out`).
"""

import csv
import functools
import hashlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sdjax.sources import Example

NEGATIVE, POSITIVE = 0, 1

# What is reviewed: products of a group, then what can be said to be good or bad.
_GROUPS = (
    (
        "blender, toaster, kettle, coffee maker, mixer, juicer, rice cooker, "
        "waffle iron",
        "motor, lid, handle, power cord, display, base, timer, manual",
    ),
    (
        "phone, laptop, tablet, camera, monitor, printer, speaker, headset",
        "screen, battery, sound, charger, software, case, cable, menu",
    ),
    (
        "novel, biography, thriller, mystery, memoir, romance, saga, textbook",
        "story, writing, cover, ending, first chapter, pacing, plot, style",
    ),
    (
        "movie, documentary, comedy, drama, sequel, western, cartoon, musical",
        "acting, script, plot, music, camera work, cast, opening scene, ending",
    ),
    (
        "jacket, coat, sweater, dress, shirt, backpack, raincoat, scarf",
        "fabric, zipper, color, fit, lining, stitching, collar, cut",
    ),
    (
        "sofa, mattress, lamp, desk, chair, bookshelf, wardrobe, mirror",
        "material, frame, color, surface, shape, assembly, manual, packaging",
    ),
    (
        "hotel, restaurant, cafe, bakery, hostel, resort, steakhouse, diner",
        "service, food, menu, location, breakfast, parking, view, music",
    ),
    (
        "drill, lawn mower, ladder, hammer, garden hose, chainsaw, wrench, "
        "pressure washer",
        "grip, trigger, handle, motor, weight, case, manual, battery",
    ),
)
PRODUCTS = {
    product: tuple(aspects.split(", "))
    for products, aspects in _GROUPS
    for product in products.split(", ")
}
NOUNS = tuple(
    dict.fromkeys([*PRODUCTS, *itertools.chain.from_iterable(PRODUCTS.values())])
)

# Sentiment words by kind, (negative, positive), common ones first. Verbs take the
# noun as object ("I love the lid"), predicates as subject ("the lid let me down").
WORDS = {
    "adjective": (
        "terrible, awful, bad, disappointing, horrible, poor, useless, annoying, "
        "dreadful, frustrating, cheap, weak, worthless, ugly, unpleasant, lousy, "
        "mediocre, pathetic, flimsy, shoddy, boring, unreliable, inferior, miserable, "
        "clumsy, dismal, unacceptable, sloppy, awkward, abysmal, laughable, atrocious, "
        "appalling, defective, lame, crude, tedious, forgettable, irritating, "
        "overpriced".split(", "),
        "excellent, great, good, wonderful, fantastic, nice, perfect, amazing, "
        "beautiful, impressive, lovely, solid, delightful, superb, outstanding, smart, "
        "brilliant, charming, elegant, reliable, pleasant, marvelous, terrific, "
        "clever, splendid, flawless, remarkable, fabulous, stunning, exceptional, "
        "satisfying, magnificent, refreshing, gorgeous, neat, superior, enjoyable, "
        "memorable, first-rate, top-notch".split(", "),
    ),
    "verb": (
        "hate, dislike, regret, despise, resent, loathe, dread, detest".split(", "),
        "love, like, enjoy, adore, treasure, admire, cherish, praise".split(", "),
    ),
    "predicate": (
        "let me down, fell short, was a letdown, failed badly, made me angry, "
        "spoiled the whole thing, was a mess, drove me crazy".split(", "),
        "won me over, stood out, was a treat, worked nicely, made me happy, "
        "exceeded my expectations, was a joy, got me excited".split(", "),
    ),
}

# {n}: what it is about, {w}: the sentiment word, {aw}: the same with "a" or "an".
TRAINING_TEMPLATES = {
    "adjective": (
        "The {n} is {w}.",
        "I think the {n} is {w}.",
        "The {n} turned out to be {w}.",
        "To be honest, the {n} is {w}.",
        "My husband says the {n} is {w}.",
        "The {n} was {w} from the first day.",
        "For me the {n} was simply {w}.",
        "The {n} is really {w}!",
        "It comes down to this: the {n} is {w}.",
        "It is {aw} {n}.",
        "Overall {aw} {n}.",
        "What {aw} {n}!",
        "For the price this is {aw} {n}.",
        "My wife called it {aw} {n}.",
        "I did not expect such {aw} {n}.",
    ),
    "verb": (
        "I {w} the {n}.",
        "We all {w} the {n}.",
        "I really {w} the {n}.",
        "My kids {w} the {n}.",
        "After a week I {w} the {n}.",
    ),
    "predicate": (
        "The {n} {w}.",
        "In the end the {n} {w}.",
        "From the start, the {n} {w}.",
        "I have to say that the {n} {w}.",
    ),
}
HELD_OUT_TEMPLATES = {
    "adjective": (
        "I found the {n} {w}.",
        "Everyone here agrees that the {n} seems {w}.",
        "The {n} looks {w} to me.",
        "If you ask me, the {n} feels {w}.",
        "The {n}? Just {w}.",
        "You get {aw} {n} here.",
        "In short, {aw} {n}.",
        "This has to be {aw} {n}.",
    ),
    "verb": (
        "Friends of mine {w} the {n} too.",
        "You will {w} the {n} as much as I do.",
    ),
    "predicate": (
        "As for the {n}, it {w}.",
        "Again and again, the {n} {w}.",
    ),
}

# Opinions without a noun, (negative, positive); they close many reviews.
CLOSINGS = (
    (
        "I am sending it back.",
        "A complete waste of money.",
        "Never again.",
        "Stay away from this one.",
        "I want a refund.",
        "Save your money.",
        "One star, and that is too many.",
        "I am very unhappy with it.",
    ),
    (
        "I would buy it again.",
        "Worth every single penny.",
        "Highly recommended.",
        "Do not miss this one.",
        "I am so glad I got it.",
        "Go and get one.",
        "Five stars, and I would give six.",
        "I am very pleased with it.",
    ),
)

# Sentences that say nothing about the polarity; {p} is the product.
_FILLERS = {
    "month": "January, March, April, June, August, October, December",
    "day": "Monday, Tuesday, Wednesday, Friday, Saturday, Sunday",
    "who": "sister, brother, mother, father, daughter, son, neighbor, cousin",
    "number": "two, three, four, five, six, ten",
    "hour": "morning, afternoon, evening",
}
NEUTRAL_OPENINGS = (
    "I got this {p} in {month}.",
    "This {p} was a gift for my {who}.",
    "My {who} told me about this {p}.",
    "It was a {day} when I first saw this {p}.",
    "This is my review of the {p} from the {month} sale.",
    "I have known this {p} for {number} weeks now.",
)
NEUTRAL_TEMPLATES = (
    "It was a {day} {hour}.",
    "My {who} lives {number} miles from here.",
    "I read about it in {month}.",
    "It took {number} days.",
    "There were {number} of us.",
    "We talked about it on {day}.",
    "I had another {p} before this one.",
    "My {who} has the same {p}.",
    "I write this on a {day} {hour}.",
    "Last {month} we moved to another town.",
    "There are {number} people in our family.",
    "I told my {who} about the {p}.",
)
HELD_OUT_NEUTRAL_TEMPLATES = (
    "That was {number} months ago.",
    "My {who} was with me that {hour}.",
    "It must have been {month} or so.",
    "Somebody asked me about the {p} on {day}.",
)

_BLOCK = 1024  # reviews drawn at a time
_MAX_SENTENCES = 8
_TABLE = 256  # entries of a sampling table
_RANK_OFFSET = 4  # word of rank r has weight 1 / (r + offset): common and rare words


@functools.cache
def _held_out_pairings(noun: str) -> frozenset[str]:
    """Pick a quarter of every list of words, by hash, so that no list goes empty."""

    def rank(word: str) -> bytes:
        return hashlib.blake2b(f"{word}|{noun}".encode(), digest_size=8).digest()

    lists = itertools.chain.from_iterable(WORDS.values())
    return frozenset(
        word for words in lists for word in sorted(words, key=rank)[: len(words) // 4]
    )


def is_held_out(word: str, noun: str) -> bool:
    """Tell whether a sentiment word is never said about this noun in the reviews."""
    return word in _held_out_pairings(noun)


def reviews(count: int, seed: int = 0) -> Iterator[Example]:
    """Yield reviews of 3 to 8 sentences with their hidden polarity as label.

    The first n reviews are the same for every `count` of at least n.

    Args:
        count: how many.
        seed: of everything; other seeds give other reviews.

    Returns:
        Examples with label 0.0 (negative) or 1.0 (positive), rows from 0.
    """
    products = tuple(PRODUCTS)
    tables = _opinions(held_out=False)
    openings = _instances(NEUTRAL_OPENINGS)
    neutral = _instances(NEUTRAL_TEMPLATES)
    for row, draws in _draws(count, seed, stream=0):
        first, *rest = draws
        product = products[first[0] % len(products)]
        aspects = PRODUCTS[product]
        polarity = first[1] & 1
        sentences = []
        if first[2] % 4:
            sentences.append(_neutral(openings, first[2] >> 2, first[3], product))
        for choice, noun, template, word in rest[: 3 + first[1] // 2 % 4]:
            # After the opening comes an opinion; then 3 of 8 sentences are neutral.
            if len(sentences) > 1 and choice % 8 < 3:
                sentences.append(_neutral(neutral, template, word, product))
            else:
                # One opinion in four is about the product itself.
                subject = (
                    product if noun % 4 == 0 else aspects[noun // 4 % len(aspects)]
                )
                sentences.append(_opinion(tables[polarity], subject, template, word))
        if first[1] // 8 % 2 or len(sentences) < 3:
            closings = CLOSINGS[polarity]
            sentences.append(closings[first[3] // 64 % len(closings)])
        yield Example(" ".join(sentences), float(polarity), row)


def labelled(count: int, seed: int = 0) -> Iterator[Example]:
    """Yield labelled texts of 1 to 3 sentences that are new to a reader of `reviews`.

    Every template is held out, and so is every pairing of a sentiment word with a
    noun. The words and nouns themselves do occur in the reviews. Texts may repeat.

    Args:
        count: how many.
        seed: of everything; other seeds give other texts.

    Returns:
        Examples with label 0.0 (negative) or 1.0 (positive), rows from 0.
    """
    products = tuple(PRODUCTS)
    tables = _opinions(held_out=True)
    neutral = _instances(HELD_OUT_NEUTRAL_TEMPLATES)
    for row, draws in _draws(count, seed, stream=1):
        first, *rest = draws
        product = products[first[0] % len(products)]
        aspects = PRODUCTS[product]
        polarity = first[1] & 1
        length = 1 + first[1] // 2 % 3
        opinion_at = first[2] % length  # one sentence at least is an opinion
        sentences = []
        for place, (choice, noun, template, word) in enumerate(rest[:length]):
            if place != opinion_at and choice % 2:
                sentences.append(_neutral(neutral, template, word, product))
            else:
                subject = (
                    product if noun % 4 == 0 else aspects[noun // 4 % len(aspects)]
                )
                sentences.append(_opinion(tables[polarity], subject, template, word))
        yield Example(" ".join(sentences), float(polarity), row)


def write_labelled(
    folder: str | Path,
    counts: tuple[int, int, int] = (2000, 500, 500),
    seed: int = 0,
) -> dict[str, Path]:
    """Write labelled texts as train.csv, valid.csv and test.csv (label, sentence).

    Args:
        folder: made where it does not exist; the three files are replaced.
        counts: texts in each file. No text occurs twice, in one file or in two.

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
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _draws(count: int, seed: int, stream: int) -> Iterator[tuple[int, list]]:
    """Yield (row, 1 + _MAX_SENTENCES lists of four random integers below 2^30)."""
    for start in range(0, count, _BLOCK):
        key = np.random.SeedSequence([seed, stream, start // _BLOCK])
        generator = np.random.Generator(np.random.Philox(key))
        block = generator.integers(
            2**30, size=(_BLOCK, 1 + _MAX_SENTENCES, 4), dtype=np.int64
        )
        yield from enumerate(block[: count - start].tolist(), start)


def _neutral(instances: list[list[str]], template: int, filler: int, product: str):
    variants = instances[template % len(instances)]
    return variants[filler % len(variants)].replace("{p}", product)


def _opinion(table: tuple, noun: str, template: int, word: int) -> str:
    templates, words = table
    kind, before, noun_first, between, after = templates[template % len(templates)]
    words = words[kind][noun]
    word = words[word % len(words)]
    if noun_first:
        return f"{before}{noun}{between}{word}{after}"
    return f"{before}{word}{between}{noun}{after}"


@functools.cache
def _instances(templates: tuple[str, ...]) -> list[list[str]]:
    """Fill every slot but {p} in every way, one list per template."""
    fillers = {name: values.split(", ") for name, values in _FILLERS.items()}
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


@functools.cache
def _opinions(held_out: bool) -> tuple[tuple, tuple]:
    """Build for each polarity (cut templates, words by kind and noun)."""
    templates = HELD_OUT_TEMPLATES if held_out else TRAINING_TEMPLATES
    cut = [
        _cut(kind, template) for kind, group in templates.items() for template in group
    ]
    return tuple(
        (cut, _words_by_kind(polarity, held_out)) for polarity in (NEGATIVE, POSITIVE)
    )


def _cut(kind: str, template: str) -> tuple[str, str, bool, str, str]:
    """Cut a template into (kind of word, before, noun first?, between, after)."""
    if "{aw}" in template:
        kind, template = "attribute", template.replace("{aw}", "{w}")
    noun_first = template.index("{n}") < template.index("{w}")
    before, rest = template.split("{n}" if noun_first else "{w}")
    between, after = rest.split("{w}" if noun_first else "{n}")
    return kind, before, noun_first, between, after


def _words_by_kind(polarity: int, held_out: bool) -> dict[str, dict[str, list[str]]]:
    """Give a sampling table of words for every kind and noun."""
    tables = {
        kind: {noun: _table(words[polarity], noun, held_out) for noun in NOUNS}
        for kind, words in WORDS.items()
    }
    tables["attribute"] = {
        noun: [with_article(word) for word in words]
        for noun, words in tables["adjective"].items()
    }
    return tables


def _table(words: list[str], noun: str, held_out: bool) -> list[str]:
    """Repeat each word that may be said of this noun in proportion to its weight."""
    allowed = [
        (word, 1 / (rank + _RANK_OFFSET))
        for rank, word in enumerate(words)
        if is_held_out(word, noun) == held_out
    ]
    unit = sum(weight for _, weight in allowed) / _TABLE
    return [
        word for word, weight in allowed for _ in range(max(1, round(weight / unit)))
    ]


def with_article(word: str) -> str:
    """Put "a" or "an" before a word."""
    vowel = word[0] in "aeiou" and word != "useless"
    return f"{'an' if vowel else 'a'} {word}"
