import pytest

from sdjax.errors import InputError
from sdjax.text import Normalisation, unframe


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Great.\n", b"\n Great. "),
        ("one\ntwo\r\nthree\rfour", b"\n one two three four "),
        ("Tom &amp; Jerry &lt;3 &#39;em", b"\n Tom & Jerry <3 'em "),
        ("caf\u00e9 \U0001f600", "\n caf\u00e9 \U0001f600 ".encode()),
        ("half \ud83d pair", "\n half \ufffd pair ".encode()),
        ("whole \ud83d\ude00 pair", "\n whole \U0001f600 pair ".encode()),
        ("", b"\n  "),
    ],
)
def test_encode(text, expected):
    assert Normalisation().encode(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("good<br /><br />film", "good film"),
        ("&lt;b&gt;bold&lt;/b&gt;", "bold"),
        ("I <3 it, 4 < 5 > 3", "I <3 it, 4 < 5 > 3"),
        ("open <a tag", "open <a tag"),
    ],
)
def test_tags_are_stripped_only_on_request(text, expected):
    assert Normalisation(strip_tags=True).normalise(text) == expected
    assert "<" in Normalisation().normalise(text)


def test_unframe_inverts_encode():
    normalisation = Normalisation()
    for text in ("a", "two  words", "caf\u00e9", "x &lt; y", ""):
        assert unframe(normalisation.encode(text)) == normalisation.normalise(text)


def test_normalising_twice_changes_nothing_more():
    normalisation = Normalisation(strip_tags=True)
    once = normalisation.normalise(" a<br/>b\n")
    assert normalisation.normalise(once) == once


def test_options_survive_json():
    for options in (Normalisation(), Normalisation(strip_tags=True)):
        assert Normalisation.from_json(options.as_json()) == options


@pytest.mark.parametrize("options", [{"lowercase": True}, {"strip_tags": "yes"}])
def test_unknown_options_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        Normalisation.from_json(options)
