"""Training with the hand-written gradient equals training with autodiff of a scan."""

import os
from pathlib import Path

import numpy as np
import pytest

from sdjax.data.read_report import ReadReport
from sdjax.data.text import Normalisation
from sdjax.model import recurrence
from sdjax.prepare import pipeline, synthetic
from sdjax.training import loop
from sdjax.training.config import defaults
from sdjax.training.metrics import read_metrics


@pytest.fixture
def corpus(tmp_path):
    """Return the synthetic corpus, or the corpus that SDJAX_CORPUS names."""
    if given := os.environ.get("SDJAX_CORPUS"):
        return Path(given).resolve()
    pipeline.prepare(
        synthetic.reviews(4000, 0),
        tmp_path / "corpus",
        report=ReadReport(),
        source={"name": "synthetic"},
        normalisation=Normalisation(),
        shards=(2, 1, 1),
    )
    return tmp_path / "corpus"


@pytest.mark.slow
def test_two_hundred_updates_have_the_same_curve(corpus, tmp_path, monkeypatch):
    config = defaults.get_config()
    config.corpus = str(corpus)
    config.model.hidden_size = 128
    config.global_batch_size, config.window_size = 32, 64
    config.base_learning_rate = 8e-3
    config.train_steps = config.checkpoint_every_steps = 200
    config.log_every_steps = 1
    loop.train(config, tmp_path / "ours")
    monkeypatch.setattr(recurrence, "run", recurrence.scan_reference)
    loop.train(config, tmp_path / "scan")
    curves = [
        np.array(
            [r["train_bpc"] for r in read_metrics(tmp_path / name / "metrics.jsonl")]
        )
        for name in ("ours", "scan")
    ]
    assert len(curves[0]) == 200 and curves[0][-1] < curves[0][0] - 1
    assert not np.array_equal(*curves)  # the patch took effect: the programs differ
    difference = np.abs(curves[0] - curves[1]).max()
    print(f"largest difference {difference:.2e} bits per character")
    assert difference < 1e-3
