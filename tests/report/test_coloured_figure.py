"""The figure of coloured texts: right colours, wrapping, missing glyphs."""

import numpy as np
import pytest
from matplotlib.image import imread

from sdjax.features.trace import TracedText, characters
from sdjax.report import style
from sdjax.report.coloured_figure import COLUMNS, LINES, WIDTH, coloured_texts, wrap
from sdjax.report.coloured_text import Scale

FULL = int(WIDTH * style.DPI)


def traced(text: str, label="positive") -> TracedText:
    size = len(text.encode("utf-8", "surrogatepass"))
    return TracedText(text, np.linspace(-1, 1, size, dtype=np.float32), label)


def assert_drawn(path):
    image = imread(path)
    assert image.shape[1] == FULL
    assert image[..., :3].std() > 0.02  # not a blank page
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("sign", [1, -1])
def test_coloured_texts(tmp_path, sign):
    texts = [
        "\n It costs $5, or $6: a delight. ",
        "\n caf\u00e9 \u6620\u753b \U0001f600 tab\there ",
        "\n " + "a long review of many words " * 60,
        "\n " + "x" * 300 + " ",
        "\n  ",
    ]
    examples = [(f"text {i}", traced(text)) for i, text in enumerate(texts)]
    coloured_texts(examples, 5, Scale(0.1, 1.0, sign), tmp_path / "a.png")
    assert_drawn(tmp_path / "a.png")


def test_coloured_texts_without_a_character(tmp_path):
    coloured_texts(
        [("empty", traced("\n  "))], 5, Scale(0.1, 1.0, 1), tmp_path / "a.png"
    )
    assert_drawn(tmp_path / "a.png")


def test_the_background_has_the_colour_of_the_predicted_class(tmp_path):
    """Blanks at +1 are red if larger values mean negative, else blue."""
    blank = TracedText("." + " " * 60, np.full(61, 1.0, np.float32))
    for sign, strongest in ((1, 2), (-1, 0)):
        path = tmp_path / "a.png"
        coloured_texts([("", blank)], 5, Scale(0.0, 1.0, sign), path)
        row = round((0.45 + 2.0 * 0.205) * style.DPI)
        pixel = imread(path)[row, FULL // 3, :3]
        assert np.argmax(pixel) == strongest and np.ptp(pixel) > 0.2


def test_a_character_takes_the_value_at_its_last_byte():
    text, values = characters(
        TracedText("\n a\u00e9\u6620 b", np.arange(10, dtype=np.float32))
    )
    assert text == "a\u00e9\u6620 b"
    assert values.tolist() == [2, 4, 7, 8, 9]
    with pytest.raises(ValueError, match="3 values for 2 bytes"):
        characters(TracedText("ab", np.zeros(3)))


def test_wrap_breaks_after_words_and_keeps_every_character():
    text = "word " * 60
    lines = wrap(text, np.arange(300))
    assert "".join(c for line in lines for c, _ in line) == text
    assert [v for line in lines for _, v in line] == list(range(300))
    assert all(len(line) <= COLUMNS for line in lines)
    assert all(line[-1][0] == " " for line in lines)


def test_wrap_cuts_long_texts_and_words():
    lines = wrap("x" * 1000, np.zeros(1000))
    assert len(lines) == LINES
    assert [len(line) for line in lines] == [COLUMNS] * LINES
    assert lines[-1][-1][0] == "\u2026"
    assert lines[-1][-2][0] == "x"


def test_wrap_replaces_characters_without_a_glyph_by_boxes():
    shown = "".join(c for c, _ in wrap("\u00e9\u6620\n\x07", np.zeros(4))[0])
    assert shown == "\u00e9\u25a1 \u25a1"
