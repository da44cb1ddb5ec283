"""Words and templates of the synthetic corpus, for `synthetic`; data only.

`HELD_OUT_TEMPLATES` and `HELD_OUT_NEUTRAL_TEMPLATES` are used for the labelled texts
and never for the reviews.
"""

PRODUCTS = (
    "blender, toaster, kettle, coffee maker, mixer, juicer, rice cooker, waffle iron, "
    "phone, laptop, tablet, camera, monitor, printer, speaker, headset, keyboard, "
    "novel, biography, thriller, textbook, memoir, romance, cookbook, travel guide, "
    "movie, documentary, comedy, drama, sequel, western, cartoon, musical, board game, "
    "jacket, coat, sweater, dress, shirt, backpack, raincoat, scarf, watch, necklace, "
    "sofa, mattress, lamp, desk, chair, bookshelf, wardrobe, mirror, carpet, "
    "hotel, restaurant, cafe, bakery, hostel, resort, steakhouse, diner, museum, "
    "drill, lawn mower, ladder, hammer, garden hose, chainsaw, pressure washer"
).split(", ")
# Every product has these aspects. They do not depend on the product, so the polarity is
# the only thing that is worth remembering through a review.
ASPECTS = (
    "price, quality, design, service, style, color, look, feel, value, size, delivery, "
    "whole experience"
).split(", ")
NOUNS = (*PRODUCTS, *ASPECTS)

# Sentiment words by kind: (negative, positive), the most frequent first. The noun is
# the object of a verb ("I love the lid") and the subject of a predicate ("the lid let
# me down"). Adverbs open a sentence.
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
    "adverb": (
        "Sadly, Unfortunately, Annoyingly, Regrettably, Shamefully".split(", "),
        "Happily, Fortunately, Thankfully, Luckily, Delightfully".split(", "),
    ),
}

# {n}: the noun; {s}: an adverb; {w} and {x}: two different sentiment words of the
# template's kind; {W}: {w} capitalised; {aw}: {w} with "a" or "an".
# Some templates begin or end with a sentiment word, so the distance between two
# sentiment words varies from two bytes to fifty. A model can learn to remember the
# polarity over a few bytes first, and over more bytes later.
TRAINING_TEMPLATES = {
    "adjective": (
        "The {n} is {w}.",
        "The {n} is {w} and {x}.",
        "I think the {n} is {w}.",
        "I call the {n} {w}.",
        "My wife says the {n} is {w}, even {x}.",
        "It has {aw} {n}.",
        "{s}, {aw} {n}.",
        "{s}, the {n} is {w}.",
        "{s}, the {n} is {w} and {x}.",
    ),
    "verb": (
        "I {w} the {n}.",
        "I {w} and {x} the {n}.",
        "{s}, we all {w} the {n}.",
    ),
    "predicate": (
        "The {n} {w}.",
        "{s}, the {n} {w}.",
        "The {n} {w}, and it {x}.",
    ),
}
# Half of the reviewers are terse and write these.
TERSE_TEMPLATES = {
    "adjective": (
        "{W} {n}.",
        "{W} and {x}.",
        "{W} {n}, so {x}.",
        "{W} {n}, really {x}!",
        "So {w}.",
    ),
}
HELD_OUT_TEMPLATES = {
    "adjective": (
        "I found the {n} {w}.",
        "Everyone here agrees that the {n} seems {w}.",
        "If you ask me, the {n} feels {w}.",
        "The {n}? Just {w}.",
        "Some would call this {n} {w}.",
        "This {n} looks {w} and {x}.",
        "{s} we found the {n} rather {w}.",
        "Whatever they say, the {n} remains {w}.",
    ),
    "verb": ("This {n} is something I {w}.",),
    "predicate": (
        "As for the {n}, it {w}.",
        "{s} enough, this {n} {w}.",
    ),
}

# Opinions without a noun, (negative, positive). Half of the reviews end with one.
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
FILLERS = {
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
    "I had another one before.",
    "My {who} has the same one.",
    "I write this on a {day} {hour}.",
    "Last {month} we moved to another town.",
    "There are {number} people in our family.",
    "I told my {who} about it.",
)
HELD_OUT_NEUTRAL_TEMPLATES = (
    "That was {number} months ago.",
    "My {who} was with me that {hour}.",
    "It must have been {month} or so.",
    "Somebody asked me about it on {day}.",
)
