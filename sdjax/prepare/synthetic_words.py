"""Words and templates of the synthetic corpus, for `synthetic`; data only.

`HELD_OUT_TEMPLATES` and `HELD_OUT_NEUTRAL_TEMPLATES` are used for the labelled texts
and never for the reviews.
"""

PRODUCTS = (
    "blender, toaster, kettle, mixer, phone, laptop, tablet, camera, novel, thriller, "
    "memoir, cookbook, movie, comedy, drama, musical, jacket, coat, sweater, shirt, "
    "sofa, lamp, desk, mirror, hotel, cafe, bakery, museum, drill, ladder, hammer, saw"
).split(", ")
# Every product has these aspects. They do not depend on the product, so the polarity is
# the only thing that is worth remembering through a review.
ASPECTS = "price, quality, design, service, style, color, look, size".split(", ")
NOUNS = (*PRODUCTS, *ASPECTS)

# Sentiment words by kind: (negative, positive), the most frequent first. The noun is
# the object of a verb ("I love the lid") and the subject of a predicate ("the lid let
# me down"). Adverbs open a sentence. The lists are short because a model needs to meet
# a word a few hundred times, and a quick start has only minutes.
WORDS = {
    "adjective": (
        "terrible, awful, bad, horrible, poor, useless, dreadful, cheap, ugly, lousy, "
        "flimsy, boring".split(", "),
        "excellent, great, good, wonderful, nice, perfect, beautiful, lovely, superb, "
        "smart, charming, elegant".split(", "),
    ),
    "verb": (
        "hate, dislike, regret, despise, loathe".split(", "),
        "love, like, enjoy, adore, treasure".split(", "),
    ),
    "predicate": (
        "let me down, fell short, failed badly, made me angry, was a mess".split(", "),
        "won me over, stood out, worked nicely, made me happy, was a joy".split(", "),
    ),
    "adverb": (
        "Sadly, Unfortunately, Annoyingly, Regrettably".split(", "),
        "Happily, Fortunately, Thankfully, Luckily".split(", "),
    ),
}
INTENSIFIERS = "very, really, quite, so".split(", ")

# {n}: the noun; {a}, {v}, {p}, {s}: an adjective, a verb, a predicate, an adverb of the
# review's polarity; {aa}: an adjective with its article; {A}: one that is capitalised;
# {i}: an intensifier. No sentiment word occurs twice in a sentence.
# The distance between two sentiment words varies from two bytes to fifty and more, so
# that a model can learn to remember the polarity over a few bytes first, and over more
# bytes later.
TRAINING_TEMPLATES = (
    "The {n} is {a}.",
    "{A} {n}.",
    "So {a}.",
    "I {v} it.",
    "It {p}.",
    "It is {a}.",
    "I {v} the {n}.",
    "The {n} {p}.",
    "Really {a}!",
    "{A} and {a}.",
    "{s}, it is {a}.",
    "I call it {a}.",
    "Such {aa} {n}.",
    "We all {v} it.",
    "My wife calls it {a}.",
    "{s}, the {n} {p}.",
)
HELD_OUT_TEMPLATES = (
    "I found the {n} {a}.",
    "Everyone here agrees that the {n} seems {a}.",
    "If you ask me, the {n} feels {i} {a}.",
    "The {n}? Just {a}.",
    "Some would call this {n} {a}.",
    "This {n} looks {a} and {a}.",
    "Whatever they say, the {n} remains {a}.",
    "This {n} is something I {v}.",
    "As for the {n}, it really {p}.",
    "{s} enough, this {n} {p}.",
)

# Opinions without a noun, (negative, positive). Half of the reviews end with one.
CLOSINGS = (
    (
        "I am sending it back.",
        "A complete waste of money.",
        "Stay away from this one.",
        "I want a refund.",
        "One star, and that is too many.",
        "I am very unhappy with it.",
    ),
    (
        "I would buy it again.",
        "Worth every single penny.",
        "Do not miss this one.",
        "I am so glad I got it.",
        "Five stars, and I would give six.",
        "I am very pleased with it.",
    ),
)

# Sentences that say nothing about the polarity; {p} is the product.
FILLERS = {
    "month": "January, March, June, August, December",
    "day": "Monday, Tuesday, Friday, Sunday",
    "who": "sister, brother, mother, son, cousin",
    "number": "two, three, four, six, ten",
    "hour": "morning, evening",
}
NEUTRAL_OPENINGS = (
    "I got this {p} in {month}.",
    "This {p} was a gift for my {who}.",
    "My {who} told me about this {p}.",
    "I have known this {p} for {number} weeks now.",
)
# Many, so that a model learns to keep the polarity through any of them, known or not.
NEUTRAL_TEMPLATES = (
    "It was a {day} {hour}.",
    "My {who} lives {number} miles from here.",
    "I read about it in {month}.",
    "It took {number} days.",
    "There were {number} of us.",
    "We talked about it on {day}.",
    "My {who} has the same one.",
    "Last {month} we moved to another town.",
    "That {day} we were all at home.",
    "It may have been {number} weeks later.",
    "Somebody else had it before me.",
    "I was away in {month}.",
    "My {who} came over that {day}.",
    "They asked us again last {month}.",
    "About {number} people saw it.",
    "I wrote this on a {day}.",
    "In {month} I had another one.",
    "My {who} was out until {day}.",
    "Everybody went home by {day}.",
    "This was some {number} years ago.",
)
HELD_OUT_NEUTRAL_TEMPLATES = (
    "That was {number} months ago.",
    "My {who} was with me that {hour}.",
    "It must have been {month} or so.",
    "Somebody asked me about it on {day}.",
)
