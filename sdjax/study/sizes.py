"""Models of several sizes on one corpus: what they predict, what a classifier reads."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from sdjax.checkpoints.load import Loaded
from sdjax.data.corpus import Corpus
from sdjax.data.sources import Example
from sdjax.data.text import VOCABULARY_SIZES
from sdjax.errors import InputError
from sdjax.features import file as feature_file
from sdjax.features.featurizer import TextFeaturizer
from sdjax.features.file import FeatureSet
from sdjax.probe.l1_probe import run_probe
from sdjax.study import losses
from sdjax.study.stages import Share, left, stage
from sdjax.training.config.defaults import MODEL
from sdjax.training.cost import flops_per_character
from sdjax.training.metrics import read_metrics

EQUAL = ("characters", "compute")
SPLITS = ("train", "valid", "test")
_BITS, _PROBE = "bits.json", "probe.json"


class Size(NamedTuple):
    """One run: its units and its seed."""

    units: int
    seed: int

    @property
    def name(self) -> str:
        """The name of the run."""
        return f"{self.units}-{self.seed}"


class Labelled(NamedTuple):
    """Labelled texts of one split, and what their features say of where they are from.

    metadata: `input`, `label_keys` and `classes`, as a features file has them.
    """

    examples: Sequence[Example]
    metadata: Mapping


class Plan(NamedTuple):
    """What all runs of the study have in common.

    folder: of the study.
    config: of the runs; units, seed and length are set for each.
    corpus: opened.
    characters: that each run reads; with equal compute, the smallest one.
    equal: "characters" or "compute".
    smallest: units of the smallest size.
    texts: labelled, by split.
    """

    folder: Path
    config: ConfigDict
    corpus: Corpus
    characters: int
    equal: str
    smallest: int
    texts: Mapping[str, Labelled]


def runs(sizes: Sequence[int], seeds: Sequence[int]) -> list[list[Size]]:
    """Return a group for each run, the largest first: shares end at about one time."""
    ordered = sorted(set(sizes), reverse=True)
    return [[Size(units, seed)] for units in ordered for seed in seeds]


def flops(config: ConfigDict, units: int, codec: str) -> int:
    """Return the operations of training on one character, with so many units."""
    model = MODEL | {key: v for key, v in config.model.items() if v is not None}
    symbols = model.get("vocabulary_size") or VOCABULARY_SIZES[codec]
    sizes = model["embedding_size"], symbols, model["num_layers"]
    return flops_per_character(model["cell"], units, *sizes)


def characters_of(size: Size, plan: Plan) -> int:
    """Return how many characters a run reads."""
    if plan.equal == "characters":
        return plan.characters
    codec = plan.corpus.normalisation.codec
    cost = [flops(plan.config, units, codec) for units in (plan.smallest, size.units)]
    return round(plan.characters * cost[0] / cost[1])


def config_of(size: Size, plan: Plan) -> ConfigDict:
    """Return the config of a run.

    Raises:
        InputError: it would take no more steps than it warms up.
    """
    config = plan.config.copy_and_resolve_references()
    config.corpus, config.seed = str(plan.corpus.folder), size.seed
    config.model.hidden_size = size.units
    per_step = config.global_batch_size * config.window_size
    characters = characters_of(size, plan)
    config.train_steps = math.ceil(characters / per_step)
    if config.train_steps <= config.warmup_steps:
        raise InputError(
            f"{size.units} units would read {characters:,} characters, which are"
            f" {config.train_steps} steps, no more than config.warmup_steps"
            f" {config.warmup_steps}: give more --characters"
        )
    return config


def take(size: Size, plan: Plan) -> dict:
    """Carry out the stages of a run that are not done; return what they gave.

    Returns:
        JSON-able: `bits` and `probe`, as `measure_bits` and `measure_probe` give them.

    Raises:
        InputError, SystemExit, OSError: as training, featurizing and the probe.
    """
    folder, config = plan.folder / "runs" / size.name, config_of(size, plan)
    loaded = cache(partial(losses.trained, config, folder / "train"))
    bits = stage(
        folder / _BITS,
        lambda: measure_bits(loaded(), config, plan.corpus, folder / "train"),
    )
    probe = stage(
        folder / _PROBE,
        lambda: measure_probe(
            *(
                features_of(folder / f"features-{split}.npz", plan.texts[split], loaded)
                for split in SPLITS
            )
        ),
    )
    jax.clear_caches()
    return {"bits": bits, "probe": probe}


def measure_bits(loaded: Loaded, config: ConfigDict, corpus: Corpus, run: Path) -> dict:
    """Return bits per character of the last weights on valid and test, and the cost.

    Returns:
        `valid` and `test`; `characters` that were trained on; `minutes` of training.
    """
    found = {}
    for split in ("valid", "test"):
        each = losses.losses_of_shards(
            loaded,
            corpus,
            split,
            range(len(corpus.shards[split])),
            rows=config.eval_batch_size,
            window_size=config.window_size,
            carry=config.carry,
        )
        found[split] = losses.total(each).bits
    records = read_metrics(run / "metrics.jsonl")
    chars = np.diff([0, *(record["chars"] for record in records)])
    rates = np.array([record["chars_per_second"] for record in records], np.float64)
    minutes = float((chars / rates).sum() / 60)
    return found | {"characters": records[-1]["chars"], "minutes": minutes}


def features_of(
    path: Path, labelled: Labelled, loaded: Callable[[], Loaded]
) -> FeatureSet:
    """Return the features of labelled texts; they are made unless the file is whole.

    Args:
        path: of the features file.
        labelled: the texts.
        loaded: returns the model; called only where they are made.
    """
    if path.is_file():
        try:
            return feature_file.load(path)
        except InputError:
            path.unlink()  # damaged: the next lines make it again
    featurizer = TextFeaturizer.from_loaded(loaded())
    texts = [example.text for example in labelled.examples]
    features = FeatureSet(
        features=featurizer.transform(texts),
        labels=np.array([e.label for e in labelled.examples], np.float32),
        ids=np.array([e.row for e in labelled.examples], np.int64),
        texts=texts,
        metadata=featurizer.metadata() | dict(labelled.metadata),
    )
    feature_file.save(path, features)
    return features


def measure_probe(train: FeatureSet, valid: FeatureSet, test: FeatureSet) -> dict:
    """Return what an L1 classifier on the features gives, in one process.

    Returns:
        `accuracy` of all units, `top_unit` alone and `majority` class, on test; `C`;
        `nonzero` weights; `texts` of test.
    """
    result = run_probe(train, valid, test, n_jobs=1)
    return {
        "accuracy": result.accuracy["test"],
        "top_unit": result.top_unit.accuracy["test"],
        "majority": result.majority["test"],
        "C": result.C,
        "nonzero": result.nonzero,
        "texts": len(test),
    }


def take_all(
    plan: Plan,
    sizes: Sequence[int],
    seeds: Sequence[int],
    share: Share = Share(),  # noqa: B008 (immutable)
) -> dict[Size, dict | None]:
    """Take the runs of a share; return what all runs left, None of those to come."""
    groups = runs(sizes, seeds)
    for (size,) in groups:
        config_of(size, plan)  # refused before hours of the others
    for size in share.of_groups(groups):
        take(size, plan)
    return dict(_results(plan.folder, [size for group in groups for size in group]))


def _results(folder: Path, sizes: Sequence[Size]) -> Iterator[tuple[Size, dict | None]]:
    for size in sizes:
        run = folder / "runs" / size.name
        parts = {"bits": left(run / _BITS), "probe": left(run / _PROBE)}
        yield size, None if None in parts.values() else parts
