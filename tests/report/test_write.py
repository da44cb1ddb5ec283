"""The report is complete and self-contained, and replaces an older one as a whole."""

import json
import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.image import imread

from sdjax.errors import InputError
from sdjax.features.file import FeatureSet
from sdjax.features.trace import TracedText
from sdjax.portable import stored_metadata
from sdjax.probe import bag_of_words, l1_probe, label_efficiency
from sdjax.report import coloured_text, figures, page, style
from sdjax.report.coloured_text import Scale
from sdjax.report.write import write_report

UNIT = 5
RECORDS = [
    {"step": i, "chars": 100 * i, "train_bpc": 2 + 1 / i, "valid_bpc": None}
    for i in range(1, 9)
]
TEXT = "\n <b>Good</b> & \u201cfine\u201d. "
SIZE = len(TEXT.encode())
TRACED = (
    [TracedText(TEXT, np.linspace(0, -2, SIZE), "positive")],
    [TracedText(TEXT, np.linspace(0, 3, SIZE), "negative")],
)


def planted(count: int, seed: int) -> FeatureSet:
    """Make noise with one unit that follows the label with a negative sign."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    features = random.normal(0, 0.5, (count, 12))
    features[:, UNIT] = 1 - 2 * labels + random.normal(0, 0.5, count)
    return FeatureSet(
        features=features.astype(np.float32),
        labels=labels.astype(np.float32),
        ids=np.arange(count),
        texts=["good text" if label else "bad text" for label in labels],
        metadata={"checkpoint": "runs/<a>", "normalisation": {"strip_tags": False}},
    )


@pytest.fixture(scope="module")
def splits():
    counts = {"train": 200, "valid": 80, "test": 100}
    return {name: planted(n, seed) for seed, (name, n) in enumerate(counts.items())}


@pytest.fixture(scope="module")
def result(splits):
    return l1_probe.run_probe(*splits.values(), C_values=[0.01, 0.1], n_jobs=1)


@pytest.fixture(scope="module")
def baselines(splits, result):
    targets, data = l1_probe.prepare_splits(*splits.values())
    counts = bag_of_words.count_words({n: s.texts for n, s in splits.items()})
    return {
        "words": bag_of_words.bag_of_words(targets, data, counts),
        "efficiency": label_efficiency.data_efficiency(
            targets, data, UNIT, 0.9, draws=2, n_jobs=1
        ),
    }


def whole(folder, result, splits, **baselines):
    return write_report(
        folder,
        result,
        splits,
        bits_per_character=2.345,
        records=RECORDS,
        probe_points=[(2, 0.6), (8, 0.9)],
        traced=TRACED,
        **baselines,
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory, result, splits, baselines):
    folder = tmp_path_factory.mktemp("new") / "report"
    return whole(folder, result, splits, **baselines)


class Reader(HTMLParser):
    """Collect the tags and the visible text of a page; check that tags are balanced."""

    VOID = {"meta", "br", "hr", "img", "input", "link"}

    def __init__(self, text: str):
        super().__init__()
        self.open, self.seen, self.shown = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "svg"} & set(self.open):
            self.shown.append(data)


def words_of(path) -> str:
    return re.sub(r"\s+", " ", "".join(Reader(path.read_text()).shown))


def test_whole_report(written, result):
    folder, text = written.parent, written.read_text()
    parsed = Reader(text)
    figure_names = [a["id"] for tag, a in parsed.seen if tag == "figure"]
    assert len(figure_names) == sum(tag == "svg" for tag, _ in parsed.seen) == 5
    for name in (*figure_names, "coloured_texts"):
        image = imread(folder / f"{name}.png")
        assert image.shape[1] >= round(style.WIDTH * style.DPI) and image.std() > 0.02
    shown = words_of(written)
    assert "2.345" in shown and f"{result.top_unit.accuracy['test']:.1%}" in shown
    assert f"Larger values of unit {UNIT} mean negative" in shown
    assert f"{result.top_unit.threshold:.4g}" in shown
    assert "runs/<a>" in shown and "Not in this report" not in shown
    entries = {entry.name for entry in folder.iterdir()}
    both = {f"{name}.{kind}" for name in figure_names for kind in ("png", "svg")}
    assert entries == both | {
        "coloured_texts.png",
        "classifier",
        "report.html",
        "report.json",
    }


def test_the_page_is_self_contained(written):
    text = written.read_text()
    for tag, attributes in Reader(text).seen:
        assert tag not in ("script", "link", "iframe", "img", "object")
        for name in ("src", "href", "xlink:href", "data", "action"):
            assert attributes.get(name, "#").startswith("#")
        assert not [name for name in attributes if name.startswith("on")]
    assert "@import" not in text and not re.search(r"url\((?!#)", text)


def test_every_character_has_a_span_with_its_value(written):
    (block, *others) = re.findall(r'<p class="text">(.*?)</p>', written.read_text())
    assert len(others) == 1
    found = re.findall(
        r'<span(?: class="([pn]\d+)")? title="(.\d\.\d\d)">(.+?)</span>', block
    )
    assert unescape("".join(c for _, _, c in found)) == TEXT[2:]
    assert found[-1][1] == "\u22122.00"  # the last value; larger ones mean negative
    assert found[-1][0].startswith("p")
    assert "<b>" not in block and "&lt;" in block


def test_control_and_direction_characters_are_shown_as_boxes():
    text = "a\u202eb\x07\n\u200dc"
    values = np.zeros(len(text.encode()), np.float32)
    shown = coloured_text.spans(TracedText(text, values), Scale(0.0, 1.0, 1))
    assert re.findall(r">([^<]+)</span>", shown) == [
        "a",
        "\u25a1",
        "b",
        "\u25a1",
        " ",
        "\u200d",
        "c",
    ]
    long = TracedText("x" * 12, np.zeros(12))
    cut = coloured_text.spans(long, Scale(0.0, 1.0, 1), max_characters=7)
    assert cut.endswith("\u2026 (5 more characters)") and cut.count("<span") == 7


def test_the_scale_of_a_unit_with_medians_at_its_threshold_is_not_zero():
    same = {"threshold": 0.0, "sign": 1, "quantiles": {"bad": {"0.50": 0.0}}}
    assert Scale.of(same) == Scale(0.0, 1.0, 1)


def test_the_table_has_every_accuracy(written, result, baselines):
    rows = re.findall(r"<tr>(.*?)</tr>", written.read_text())
    rows = [re.findall(r"<td>(.*?)</td>", row)[1:4] for row in rows]
    words = {s: v["accuracy"] for s, v in baselines["words"].scores.items()}
    for values in (
        result.accuracy,
        result.majority,
        words,
        *(p.accuracy for p in result.top_k),
    ):
        assert [f"{values[split]:.1%}" for split in l1_probe.SPLITS] in rows


def test_json(written, result, splits):
    folder = written.parent
    data = json.loads((folder / "report.json").read_text())
    assert data["probe"] == json.loads(json.dumps(result.as_json()))
    assert data["bits_per_character"] == 2.345
    assert data["probe_points"][1] == {"step": 8, "test_accuracy": 0.9}
    assert data["sources"]["test"] == stored_metadata(splits["test"].metadata, folder)
    assert all((folder / name).is_file() for name in data["figures"].values())
    assert data["absent"] == {}
    assert data["classifier"] == "classifier"


def test_an_older_report_is_replaced_and_other_files_stay(tmp_path, result, splits):
    whole(tmp_path, result, splits)
    (tmp_path / "notes.txt").write_text("mine")
    reasons = {"training_curve": "runs/x has no metrics.jsonl"}
    (tmp_path / "report.md").write_text("of an earlier version")
    path = write_report(tmp_path, result, splits, absent=reasons)
    assert not (tmp_path / "report.md").exists()
    assert not (tmp_path / "training_curve.png").exists()
    assert not (tmp_path / "coloured_texts.png").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    shown = words_of(path)
    assert "training curve: runs/x has no metrics.jsonl" in shown
    assert "coloured texts: no text was traced" in shown
    assert "bits per character:" in shown and "data efficiency:" in shown
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["absent"]["training_curve"] == "runs/x has no metrics.jsonl"
    assert set(data["figures"]) == {"unit_weights", "unit_histogram", "topk_accuracy"}


def test_a_failed_write_leaves_the_older_report(tmp_path, result, splits, monkeypatch):
    whole(tmp_path, result, splits)
    before = {e: e.read_bytes() for e in tmp_path.rglob("*") if e.is_file()}

    def full_disk(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures, "topk_accuracy", full_disk)
    with pytest.raises(OSError, match="No space left"):
        whole(tmp_path, result, splits)
    assert before == {e: e.read_bytes() for e in tmp_path.rglob("*") if e.is_file()}


def test_folder_that_is_a_file(tmp_path, result, splits):
    (tmp_path / "report").write_text("")
    with pytest.raises(InputError, match="report: is a file; give a folder"):
        whole(tmp_path / "report", result, splits)


def test_cautions(tmp_path, splits):
    zero = l1_probe.run_probe(*splits.values(), C_values=[1e-6], n_jobs=1)
    assert "Every L1 weight is zero" in words_of(write_report(tmp_path, zero, splits))
    assert zero.top_unit.index == UNIT


def test_headline_is_short(result):
    lines = page.headline(result)
    assert len(lines) == 3 and all(len(line) <= 88 for line in lines)
    assert not any("bits" in line for line in lines)
