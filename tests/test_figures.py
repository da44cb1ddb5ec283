"""Figures are whole PNGs of the size we mean, and colours sit on their characters."""

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from sdjax import figures
from sdjax.figures import TracedText

RANDOM = np.random.default_rng(0)
FULL = int(figures.WIDTH * figures.DPI)


def traced(text: str, label=1.0) -> TracedText:
    size = len(text.encode("utf-8", "surrogatepass"))
    return TracedText(text, np.linspace(-1, 1, size, dtype=np.float32), label)


def assert_drawn(path, height_inches=None):
    image = imread(path)
    assert image.shape[1] == FULL
    if height_inches is not None:
        assert image.shape[0] == round(height_inches * figures.DPI)
    assert image[..., :3].std() > 0.02  # not a blank page
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("top", [0, 31, 63])
def test_unit_weights(tmp_path, top):
    weights = np.where(RANDOM.random(64) < 0.3, RANDOM.normal(size=64), 0)
    weights[top] = -4
    figures.unit_weights(weights, top, tmp_path / "a.png")
    assert_drawn(tmp_path / "a.png", 3.6)


def test_unit_weights_all_zero(tmp_path):
    figures.unit_weights(np.zeros(8), 2, tmp_path / "a.png")
    assert_drawn(tmp_path / "a.png", 3.6)


@pytest.mark.parametrize("count", [4, 500])
def test_unit_histogram(tmp_path, count):
    labels = np.arange(count) % 2
    values = (RANDOM.normal(size=count) + 2 * labels).astype(np.float32)
    figures.unit_histogram(values, labels, 1.0, 3, tmp_path / "a.png")
    assert_drawn(tmp_path / "a.png", 3.6)


def records(count: int) -> list[dict]:
    """A metrics log in which valid was measured every third time."""
    return [
        {"step": 10 * i, "chars": 500 * i, "train_bpc": 2 + 6 / i}
        | ({"valid_bpc": 2.1 + 6 / i if i % 3 else None} if i % 2 else {})
        for i in range(1, count + 1)
    ]


def test_training_curve(tmp_path):
    points = [(0, 0.5), (40, 0.7), (100, 0.8)]
    path = tmp_path / "a.png"
    figures.training_curve(records(12), points, path, majority=0.5)
    assert_drawn(path, 5.6)
    figures.training_curve(records(12), [], path)
    assert_drawn(path, 3.4)


def test_training_curve_of_one_record_and_of_a_loss_that_is_not_finite(tmp_path):
    path = tmp_path / "a.png"
    figures.training_curve(records(1), [(10, 0.6)], path)
    assert_drawn(path, 5.6)
    bad = {"step": 40, "chars": 2000, "train_bpc": float("nan")}
    figures.training_curve([*records(3), bad], [], path)
    assert_drawn(path, 3.4)


@pytest.mark.parametrize("ks", [[1], [1, 2, 4, 5], [2**i for i in range(13)]])
def test_topk_accuracy(tmp_path, ks):
    points = [(k, {"train": 0.9, "valid": 0.8, "test": 0.85}) for k in ks]
    figures.topk_accuracy(points, (4096, points[0][1]), 0.5, tmp_path / "a.png")
    assert_drawn(tmp_path / "a.png", 3.6)


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
    figures.coloured_texts(examples, 5, 0.1, sign, tmp_path / "a.png")
    assert_drawn(tmp_path / "a.png")


def test_coloured_texts_without_a_character(tmp_path):
    figures.coloured_texts([("empty", traced("\n  "))], 5, 0.1, 1, tmp_path / "a.png")
    assert_drawn(tmp_path / "a.png")


def test_background_is_the_class_that_the_value_means(tmp_path):
    """A text of blanks at +1 is red where larger values mean negative."""
    blank = TracedText("." + " " * 60, np.full(61, 1.0, np.float32))
    for sign, strongest in ((1, 2), (-1, 0)):
        path = tmp_path / "a.png"
        figures.coloured_texts([("", blank)], 5, 0.0, sign, path)
        row = round((0.45 + 2.0 * 0.205) * figures.DPI)
        pixel = imread(path)[row, FULL // 3, :3]
        assert np.argmax(pixel) == strongest and np.ptp(pixel) > 0.2


def test_a_character_takes_the_value_at_its_last_byte():
    text, values = figures.characters(
        TracedText("\n a\u00e9\u6620 b", np.arange(10, dtype=np.float32))
    )
    assert text == "a\u00e9\u6620 b"
    assert values.tolist() == [2, 4, 7, 8, 9]
    with pytest.raises(ValueError, match="3 values for 2 bytes"):
        figures.characters(TracedText("ab", np.zeros(3)))


def test_wrap_breaks_after_words_and_keeps_every_character():
    text = "word " * 60
    lines = figures.wrap(text, np.arange(300))
    assert "".join(c for line in lines for c, _ in line) == text
    assert [v for line in lines for _, v in line] == list(range(300))
    assert all(len(line) <= figures.COLUMNS for line in lines)
    assert all(line[-1][0] == " " for line in lines)


def test_wrap_cuts_long_texts_and_words():
    lines = figures.wrap("x" * 1000, np.zeros(1000))
    assert len(lines) == figures.LINES
    assert [len(line) for line in lines] == [figures.COLUMNS] * figures.LINES
    assert lines[-1][-1][0] == "\u2026"
    assert lines[-1][-2][0] == "x"


def test_wrap_boxes_what_the_font_lacks():
    shown = "".join(c for c, _ in figures.wrap("\u00e9\u6620\n\x07", np.zeros(4))[0])
    assert shown == "\u00e9\u25a1 \u25a1"


def test_nothing_global_changes(tmp_path):
    before = dict(matplotlib.rcParams)
    figures.unit_weights(np.ones(3), 0, tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before


def test_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(self, path, **options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures.Figure, "savefig", full_disk)
    with pytest.raises(OSError, match="No space left"):
        figures.unit_weights(np.ones(3), 0, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
