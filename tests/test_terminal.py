"""Text for a terminal: colours, columns, and removal of control characters."""

import io

import pytest

from sdjax import terminal


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("choice", "no_color", "term", "expected"),
    [
        ("auto", "", "xterm", True),
        ("auto", "1", "xterm", False),
        ("auto", "", "dumb", False),
        ("always", "1", "dumb", True),
        ("never", "", "xterm", False),
    ],
)
def test_automatic_colours_need_a_capable_terminal(
    monkeypatch, choice, no_color, term, expected
):
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", term)
    assert terminal.wants_colour(choice, Screen()) == expected
    assert terminal.wants_colour(choice, io.StringIO()) == (choice == "always")


def test_printable_keeps_the_number_of_characters():
    text = "a\x1b[31m\n\tb\u2028\ud800é\x7f"
    assert terminal.printable(text) == "a\ufffd[31m  b \ufffdé\ufffd"
    assert len(terminal.printable(text)) == len(text)


def test_wide_and_combining_characters_are_counted_in_cells():
    assert terminal.width("abc") == 3
    assert terminal.width("日本") == 4
    assert terminal.width("e\u0301") == 1


def test_wrap_breaks_at_blanks_and_long_words():
    assert terminal.wrap("one two three", 7) == ["one two", "three"]
    assert terminal.wrap("abcdefghij kl", 4) == ["abcd", "efgh", "ij", "kl"]
    assert terminal.wrap("日本語です", 4) == ["日本", "語で", "す"]
    assert terminal.wrap("", 4) == [""]


def test_columns_side_by_side():
    lines = list(terminal.side_by_side(["good", "bad"], [["a b c", "x"]], 29))
    assert lines == [
        "good          |  bad",
        "--------------|--------------",
        "a b c         |  x",
        "",
    ]
