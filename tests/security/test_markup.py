"""Texts, labels and names are never markup, in any page or figure."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from sdjax.features import file as feature_file
from sdjax.features.featurizer import TextFeaturizer
from sdjax.features.file import FeatureSet

EVIL = "</style></svg>--><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def assert_harmless(page: str) -> None:
    parser = Tags()
    parser.feed(page)
    for tag, attributes in parser.found:
        assert tag not in ("script", "img", "iframe", "object", "link", "base"), tag
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src", "xlink:href"):
            assert str(attributes.get(name, "#")).startswith("#")
    assert "alert(1)" in page  # shown, as text


@pytest.fixture
def splits(tiny_run, tmp_path):
    featurizer = TextFeaturizer.from_pretrained(tiny_run.workdir)
    paths = []
    for split in ("train", "valid", "test"):
        texts = [f"{EVIL} {split} {i} {'good' if i % 2 else 'bad'}" for i in range(24)]
        made = FeatureSet(
            featurizer.transform(texts),
            np.arange(24, dtype=np.float32) % 2,
            np.arange(24),
            texts,
            featurizer.metadata()
            | {
                "classes": ["a<script>alert(1)</script>", "b<img src=x>"],
                "input": EVIL,
                EVIL: EVIL,
            },
        )
        feature_file.save(tmp_path / f"{split}.npz", made)
        paths += [f"--{split}", tmp_path / f"{split}.npz"]
    return paths


def test_the_report_and_the_explained_texts(command, splits, tiny_run, tmp_path):
    report = tmp_path / "report"
    options = ("--draws", 0, "--one-checkpoint", "--workers", 1)
    done = command.sdjax("probe", *splits, "--out", report, *options)
    assert done.status == 0, done.err
    page = (report / "report.html").read_text()
    assert_harmless(page)
    page = tmp_path / "explained.html"
    done = command.sdjax("classify", report / "classifier", EVIL, "--html", page)
    assert done.status == 0, done.err
    assert_harmless(page.read_text())
    for figure in report.glob("*.svg"):
        text = re.sub(r"<!--.*?-->", "", figure.read_text(), flags=re.S)
        assert "<script" not in text and "onerror" not in text


def test_the_card_of_a_model(tmp_path):
    from sdjax.checkpoints.card import card
    from sdjax.data.text import Normalisation

    config = {
        "model": {
            "cell": "mlstm",
            "hidden_size": 8,
            "embedding_size": 4,
            "num_layers": 1,
            "use_weight_norm": True,
            "vocabulary_size": 256,
        },
        "about": {
            "corpus": EVIL + "| x |",
            "source": {"format": EVIL, "notes": [f"{EVIL}\n# head"]},
        },
    }
    arrays = {"a": np.zeros(3)}
    text = card(config, Normalisation(), arrays)
    assert "<script" not in text and "<img" not in text and "\n# head" not in text
