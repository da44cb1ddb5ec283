"""What each property says of every character."""

import numpy as np
import pytest

from sdjax.errors import InputError
from sdjax.inference.units.properties import BUILT_IN, YES_NO, from_patterns

BY_NAME = {found.name: found for found in BUILT_IN}

# (property, text, a mark under each character where it holds)
MARKED = [
    ("in quotes", 'He "said so" now', '   "^^^^^^^     '),
    ("in quotes", "\u201cOh\u201d he \u201csaid", "^^^          "),
    ("in quotes", 'one " alone', "           "),
    ("in brackets", "a (b [c] d) e", "  ^^^^^^^^   "),
    ("in brackets", "x [y] ) ( z", "  ^^       "),
    ("in a tag", "a<br />b < c > d", " ^^^^^          "),
    ("in a number", "in 1,000.5 or 12:30, no. 7", "   ^^^^^^^    ^^^^^      ^"),
    ("in capitals", "A USA-made \u00c9T\u00c9 iPOD", "  ^^^      ^^^     "),
    ("a name within", "Then Ann went. Bob: Carl's", "     ^^^            ^^^^^^"),
    ("sentence ends next", 'No. "Yes!" 3.5 it is...', ' ^     ^           ^'),
]  # fmt: skip

AMOUNTS = [
    ("place in the word", "so it's 42", [1, 2, 0, 1, 2, 3, 4, 0, 1, 2]),
    ("place in the sentence", "No. Yes", [0, 1, 2, 3, 0, 1, 2]),
    ("place in the text", "No.", [0, 1, 2]),
    ("since a space", "ab c", [0, 1, 0, 1]),
    ("since a newline", "ab\nc\rd", [0, 0, 0, 1, 0, 1]),
    ("since a newline", "no line end", [0] * 11),
]


@pytest.mark.parametrize(("name", "text", "marks"), MARKED)
def test_where_a_property_holds(name, text, marks):
    found = BY_NAME[name].values(text)
    assert found.dtype == np.float32
    shown = "".join("^" if here else " " for here in found)
    assert shown == marks.replace('"', "^").ljust(len(text))


@pytest.mark.parametrize(("name", "text", "amounts"), AMOUNTS)
def test_amounts(name, text, amounts):
    assert BY_NAME[name].values(text).tolist() == amounts


@pytest.mark.parametrize("found", BUILT_IN, ids=lambda found: found.name)
def test_every_property_has_a_value_for_every_character_of_any_text(found):
    for text in ("a", " ", ".", '"', "\u6620\u753b\U0001f600. \u00c9t\u00e9!", "A.B "):
        values = found.values(text)
        assert values.shape == (len(text),)
        assert np.isfinite(values).all()
        assert found.kind != YES_NO or set(values) <= {0, 1}


def test_a_regular_expression_holds_at_its_matches():
    (found,) = from_patterns({"dialogue": '"[^"]*"'})
    assert found.values('a "b" c').tolist() == [0, 0, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("wrong", ["(", "x*"])
def test_an_expression_that_is_none_or_matches_nothing_is_refused(wrong):
    with pytest.raises(InputError, match="--property name="):
        from_patterns({"name": wrong})
