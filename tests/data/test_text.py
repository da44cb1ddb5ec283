import pytest

from sdjax.data.text import Normalisation
from sdjax.errors import InputError, UnreadableText


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


def test_decoding_inverts_encoding():
    normalisation = Normalisation()
    for text in ("a", "two  words", "caf\u00e9", "x &lt; y", ""):
        found = normalisation.decode(normalisation.encode(text))
        assert found == normalisation.normalise(text)


AS_THEY_ARE = Normalisation(cleaning="none")


def test_bytes_as_they_are():
    text = " a &amp; b<br/>\r\n caf\u00e9 "
    assert AS_THEY_ARE.encode(text) == AS_THEY_ARE.encode_whole(text) == text.encode()
    assert AS_THEY_ARE.encode_prefix(text) == text.encode()
    assert AS_THEY_ARE.decode(text.encode()) == AS_THEY_ARE.shown(text.encode()) == text
    assert AS_THEY_ARE.encode_whole("abc") == b"abc"  # as long as a frame
    with pytest.raises(UnreadableText, match="empty text"):
        AS_THEY_ARE.encode("")
    with pytest.raises(InputError, match="text 1: an empty text"):
        AS_THEY_ARE.encode_all(["a", ""])


def test_a_text_that_is_a_frame_alone_is_nothing_in_a_corpus():
    assert Normalisation().encode_whole(" \n") is None
    assert Normalisation().encode_whole("a") == b"\n a "


def test_another_cleaning_than_a_models():
    assert Normalisation(strip_tags=True).cleaned_by("none") == AS_THEY_ARE
    assert Normalisation(strip_tags=True).cleaned_by(None).strip_tags
    assert AS_THEY_ARE.cleaned_by("review") == Normalisation()
    with pytest.raises(InputError, match="'none' is for bytes, not .* protein"):
        Normalisation(codec="protein").cleaned_by("none")


def test_what_is_as_ever_is_not_recorded():
    """So that what older versions wrote and what they read is the same."""
    assert Normalisation().as_json() == {"strip_tags": False}
    assert AS_THEY_ARE.as_json() == {"strip_tags": False, "cleaning": "none"}


def test_normalising_twice_changes_nothing_more():
    normalisation = Normalisation(strip_tags=True)
    once = normalisation.normalise(" a<br/>b\n")
    assert normalisation.normalise(once) == once


def test_options_survive_json():
    protein = Normalisation(codec="protein")
    for options in (Normalisation(), Normalisation(True), AS_THEY_ARE, protein):
        assert Normalisation.from_json(options.as_json()) == options


@pytest.mark.parametrize(
    "options",
    [
        {"lowercase": True},
        {"strip_tags": "yes"},
        {"cleaning": "gentle"},
        {"codec": "words"},
        {"codec": 3},
        {"strip_tags": True, "cleaning": "none"},
        {"strip_tags": True, "codec": "protein"},
        {"cleaning": "none", "codec": "protein"},
    ],
    ids=str,
)
def test_unknown_options_are_refused(options):
    words = {"strip_tags": "tags|strip_tags", "cleaning": "clean", "codec": "codec"}
    first = next(iter(options))
    with pytest.raises(InputError, match=words.get(first, first)):
        Normalisation.from_json(options)
