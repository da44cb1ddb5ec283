"""Figures: PNG and SVG of the right size, without side effects."""

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from sdjax.report import figures, style

RANDOM = np.random.default_rng(0)
FULL = round(style.WIDTH * style.DPI)


def assert_drawn(path, height_inches):
    image = imread(path)
    assert image.shape[:2] == (round(height_inches * style.DPI), FULL)
    assert image[..., :3].std() > 0.02  # not a blank page
    svg = path.with_suffix(".svg").read_text()
    assert svg.rstrip().endswith("</svg>") and svg.count("<path") > 5
    names = {entry.name for entry in path.parent.iterdir()}
    assert names == {path.name, path.with_suffix(".svg").name}


@pytest.mark.parametrize("top", [0, 31, 63])
def test_unit_weights(tmp_path, top):
    weights = np.where(RANDOM.random(64) < 0.3, RANDOM.normal(size=64), 0)
    weights[top] = -4
    figures.unit_weights(weights, top, tmp_path / "a.png")
    assert_drawn(tmp_path / "a.png", 3.4)


def test_unit_weights_all_zero(tmp_path):
    figures.unit_weights(np.zeros(8), 2, tmp_path / "a.png")
    assert_drawn(tmp_path / "a.png", 3.4)


@pytest.mark.parametrize("count", [4, 500])
def test_unit_histogram(tmp_path, count):
    labels = np.arange(count) % 2
    values = (RANDOM.normal(size=count) + 2 * labels).astype(np.float32)
    figures.unit_histogram(values, labels, 1.0, 3, tmp_path / "a.png")
    assert_drawn(tmp_path / "a.png", 3.6)


def records(count: int) -> list[dict]:
    """Make a metrics log in which some records have `valid_bpc`, some of them None."""
    return [
        {"step": 10 * i, "chars": 500 * i, "train_bpc": 2 + 6 / i}
        | ({"valid_bpc": 2.1 + 6 / i if i % 3 else None} if i % 2 else {})
        for i in range(1, count + 1)
    ]


def test_training_curve(tmp_path):
    points = [(0, 0.5), (40, 0.7), (100, 0.8)]
    path = tmp_path / "a.png"
    figures.training_curve(records(12), points, path, majority=0.5)
    assert_drawn(path, 5.4)
    figures.training_curve(records(12), [], path)
    assert_drawn(path, 3.4)


def test_training_curve_of_one_record_and_of_a_loss_that_is_not_finite(tmp_path):
    path = tmp_path / "a.png"
    figures.training_curve(records(1), [(10, 0.6)], path)
    assert_drawn(path, 5.4)
    bad = {"step": 40, "chars": 2000, "train_bpc": float("nan")}
    figures.training_curve([*records(3), bad], [], path)
    assert_drawn(path, 3.4)


@pytest.mark.parametrize("ks", [[1], [1, 2, 4, 5], [2**i for i in range(13)]])
def test_topk_accuracy(tmp_path, ks):
    points = [(k, {"train": 0.9, "valid": 0.8, "test": 0.85}) for k in ks]
    for dropped in ([], points[:-1]):
        path = tmp_path / "a.png"
        figures.topk_accuracy(points, dropped, (4096, points[0][1]), 0.5, path)
        assert_drawn(path, 3.8)


@pytest.mark.parametrize("sizes", [[7], [10, 30, 100, 300, 1000, 3000, 10_000, 82_000]])
def test_data_efficiency(tmp_path, sizes):
    curves = {
        name: [(size, tuple(RANDOM.uniform(0.5, 1, 3))) for size in sizes]
        for name in ("all units", "top unit", "another")
    }
    figures.data_efficiency(curves, 0.5, tmp_path / "a.png")
    assert_drawn(tmp_path / "a.png", 3.8)


def test_an_svg_is_deterministic_and_inlined_in_the_colours_of_the_page(tmp_path):
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        figures.unit_weights(np.arange(3.0), 2, tmp_path / name / "a.png")
        made.append((tmp_path / name / "a.svg").read_text())
    assert made[0] == made[1]
    inline = style.inline(made[0], "a &amp; b")
    assert inline.startswith('<svg role="img" aria-label="a &amp; b"')
    assert "var(--positive)" in inline and "var(--ink)" in inline
    assert not any(colour in inline for colour in style.ROLES.values())
    assert "<metadata" not in inline


def test_drawing_leaves_the_global_style_unchanged(tmp_path):
    before = dict(matplotlib.rcParams)
    figures.unit_weights(np.ones(3), 0, tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before


def test_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(self, data):
        with self.open("wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(tmp_path), "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        figures.unit_weights(np.ones(3), 0, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
