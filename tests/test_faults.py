"""Damage anywhere in anything that sdjax wrote: refused by name, or without effect.

Every file of every artefact is cut short, emptied, removed, replaced by a folder and by
the file of another run, and has a bit flipped at places drawn at random. Then the
artefact is used. Whatever comes out has to be what came out before, or an error that
names a path in the artefact.
"""

import contextlib
import functools
import hashlib
import io
import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import tiny
from fixtures_corpus import files

from sdjax.checkpoints import published, stored
from sdjax.checkpoints.load import fingerprint, load_model
from sdjax.checkpoints.manager import Checkpoints
from sdjax.data import corpus
from sdjax.data.sources import Example
from sdjax.errors import InputError
from sdjax.features import file, partial, storage
from sdjax.features.partial import FeatureWork
from sdjax.integrity import array_digest
from sdjax.model import classifier
from sdjax.model.classifier import Classifier
from sdjax.prepare import pipeline, work_folder

pytestmark = pytest.mark.slow
FLIPS = 12  # of each file
ROWS = 8


# What an artefact is used for: a result that can be compared.


def model_of(path: Path):
    loaded = load_model(path)
    return fingerprint(loaded.params), loaded.meta.as_json()


@functools.cache
def template():
    """The train state that a checkpoint is read into: only its shapes matter."""
    return tiny.train_state(tiny.model())


def resumed(path: Path):
    state, carry = template(), tiny.carry(ROWS)
    with Checkpoints(path / "checkpoints", keep_last=1) as checkpoints:
        found = checkpoints.resume(state, tiny.on_devices(carry, 1), lambda meta: None)
    if found is None:
        raise InputError(f"{path}: there is no checkpoint, which is said")
    arrays = stored.digests({"state": found.state, "carry": found.carry})
    return arrays, found.meta.as_json(), found.damaged


def corpus_of(path: Path):
    opened = corpus.Corpus.open(path)
    shards = [
        array_digest(opened.read(split, index))
        for split in corpus.SPLITS
        for index in range(len(opened.shards[split]))
    ]
    examples = [list(map(str, opened.examples(split))) for split in corpus.SPLITS]
    return opened.fingerprint, opened.normalisation, shards, examples


def features_of(path: Path):
    found = file.load(path)
    arrays = list(map(array_digest, (found.features, found.labels, found.ids)))
    return arrays, list(found.texts), list(found.given_ids), found.metadata


ENDINGS = (".npz", ".npy", ".parquet")


def classifier_of(path: Path):
    found = Classifier.load(path)
    arrays = [array_digest(getattr(found, name)) for name in classifier.ARRAYS]
    return arrays, found.task, found.classes, found.link, found.metadata


def finished_features(folder: Path):
    work = feature_work(folder)
    rows = work.rows
    for block in BLOCKS[rows // 4 :]:
        work.append(*block)
    work.finish({"made": "in two runs"})
    return features_of(folder / "x.npy")


def finished_corpus(folder: Path):
    made = make_corpus(folder)
    return made.fingerprint, {k: v for k, v in files(folder / "c").items()}


# How the artefacts are made; `seed` tells the run from another one.


def examples(seed: int):
    rng = np.random.default_rng(seed)
    for row in range(300):
        words = rng.integers(0, 50, 8)
        yield Example("review " + " ".join(map(str, words)), float(row % 2), row)


def make_corpus(folder: Path, seed: int = 0, labels: tuple[str, ...] = ()):
    from sdjax.data.read_report import ReadReport
    from sdjax.data.sources import counted

    report, made = ReadReport(), examples(seed)
    if labels:
        made = (e._replace(label=(e.label, float(e.row))) for e in made)
    return pipeline.prepare(
        counted(made, 300, report),
        folder / "c",
        report=report,
        source={"name": f"examples {seed}", "label_key": list(labels)},
        shards=(2, 1, 1),
        progress=False,
    )


def make_interrupted_corpus(folder: Path, seed: int) -> Path:
    """Stop once all shards are written, before the folder is renamed."""

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "publish", stop)
        with pytest.raises(KeyboardInterrupt):
            make_corpus(folder, seed)
    return folder


def make_run(folder: Path, seed: int) -> Path:
    state = template()
    rng = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda x: rng.normal(0, 1, x.shape).astype(np.float32), state.params
    )
    state = state.replace(params=params)
    with Checkpoints(folder / "checkpoints", keep_last=1) as checkpoints:
        carry = tiny.on_devices(tiny.carry(ROWS, seed=seed), 1)
        meta = tiny.meta(4, valid_bpc=2.0 + seed, progress={"chars": 100 + seed})
        checkpoints.save(state, carry, meta)
    return folder


def make_published(folder: Path, seed: int) -> Path:
    loaded = load_model(make_run(folder.with_name(f"{folder.name}-run"), seed))
    published.write(
        loaded.model, loaded.params, loaded.meta.normalisation, folder, loaded.meta
    )
    return folder


def make_features(folder: Path, seed: int, ending: str) -> Path:
    rng = np.random.default_rng(seed)
    folder.mkdir()
    file.save(
        folder / f"x{ending}",
        file.FeatureSet(
            features=rng.normal(0, 1, (20, 6)).astype(np.float32),
            labels=(rng.random(20) < 0.5).astype(np.float32),
            ids=np.arange(20),
            texts=[f"text {rng.integers(1000)} \ud800" for _ in range(20)],
            metadata={"units": 6, "seed": seed},
            given_ids=[f"id {rng.integers(1000)}" for _ in range(20)],
        ),
    )
    return folder


def make_classifier(folder: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    arrays = rng.normal(0, 1, (1, 6)), rng.normal(0, 1, 1), np.array([0.5])
    metadata = {"top_unit": {"index": seed}}
    Classifier("binary", ("bad", "good"), *arrays, metadata=metadata).save(folder)
    return folder


def feature_work(folder: Path, seed: int = 0) -> FeatureWork:
    return FeatureWork(folder / "x.npy", {"seed": 0}, width=3, has_ids=True)


def block(number: int, seed: int = 0):
    rng = np.random.default_rng(100 * seed + number)
    rows = range(4 * number, 4 * number + 4)
    given = [Example(f"text {r} {seed}", float(r % 2), r, f"id {r}") for r in rows]
    return given, rng.normal(0, 1, (4, 3)).astype(np.float32)


BLOCKS = [block(0), block(1), block(2)]


def make_partial(folder: Path, seed: int) -> Path:
    folder.mkdir()
    work = feature_work(folder)
    for number in range(2):
        work.append(*block(number, seed))
    return folder


def make_whole_corpus(folder: Path, seed: int, labels: tuple[str, ...] = ()) -> Path:
    make_corpus(folder, seed, labels)
    return folder / "c"


ARTEFACTS = {
    "a run, loaded": (make_run, model_of, stored.verify_run),
    "a run, resumed": (make_run, resumed, stored.verify_run),
    "a published folder": (make_published, model_of, published.verify),
    "a corpus": (make_whole_corpus, corpus_of, corpus.verify),
    "a corpus of two labels": (
        lambda folder, seed: make_whole_corpus(folder, seed, ("one", "other")),
        corpus_of,
        corpus.verify,
    ),
    "a classifier": (make_classifier, classifier_of, classifier.verify),
    "unfinished features": (
        make_partial,
        finished_features,
        lambda folder: partial.verify(folder / "x.npy.partial"),
    ),
    "an interrupted prepare": (
        make_interrupted_corpus,
        finished_corpus,
        lambda folder: work_folder.verify(folder / ".c.preparing"),
    ),
}
for ending in ENDINGS:
    ARTEFACTS[f"features in {ending}"] = (
        lambda folder, seed, ending=ending: make_features(folder, seed, ending),
        lambda folder, ending=ending: features_of(folder / f"x{ending}"),
        lambda folder, ending=ending: storage.verify(folder / f"x{ending}"),
    )


# The faults.


def cut_to(share: float):
    return lambda path, _, rng: path.write_bytes(
        path.read_bytes()[: int(path.stat().st_size * share)]
    )


def flip(path: Path, _, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def replace(path: Path, other: Path, rng) -> None:
    if other.is_file():
        shutil.copyfile(other, path)


def folder_instead(path: Path, other, rng) -> None:
    path.unlink()
    path.mkdir()


FAULTS = [cut_to(0.5), cut_to(0.97), cut_to(0), lambda path, *_: path.unlink()]
FAULTS += [replace, folder_instead, *[flip] * FLIPS]


def outcome(use, folder: Path):
    """Return what using an artefact gives, or the message that it is refused with."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return SimpleNamespace(result=use(folder), refusal=None)
    except (InputError, OSError) as error:
        return SimpleNamespace(result=None, refusal=str(error))


def counterpart(path: Path, root: Path, other: Path) -> Path:
    """Return the file of another run that has the same place in it.

    Orbax names some files by a digest: then the one in the same folder.
    """
    place = other / path.relative_to(root)
    if not place.exists() and place.parent.is_dir():
        place = next((p for p in sorted(place.parent.iterdir()) if p.is_file()), place)
    return place


@pytest.mark.parametrize("name", ARTEFACTS)
def test_nothing_damaged_is_used_in_silence(name, tmp_path):
    make, use, verify = ARTEFACTS[name]
    seed = int(hashlib.sha256(name.encode()).hexdigest(), 16)
    rng = random.Random(seed)
    original, other = make(tmp_path / "original", 0), make(tmp_path / "other", 1)
    assert not verify(original).problems and not verify(original).without
    work = tmp_path / "work"
    expected = outcome(use, shutil.copytree(original, work))
    assert expected.refusal is None
    places = [p.relative_to(original) for p in sorted(original.rglob("*"))]
    places = [p for p in places if (original / p).is_file()]
    tried = refused = 0
    silent, unnamed = [], []
    for place in places:
        for number, fault in enumerate(FAULTS):
            shutil.rmtree(work)
            shutil.copytree(original, work)
            if fault is replace and len(places) == 1:
                continue  # the other run's file is another whole artefact
            fault(work / place, counterpart(original / place, original, other), rng)
            found = outcome(use, work)
            tried += 1
            if found.refusal is not None:
                refused += 1
                if str(work) not in found.refusal or "\n" in found.refusal:
                    unnamed.append((str(place), number, found.refusal))
            elif found.result != expected.result:
                silent.append((str(place), number))
    print(
        f"\n{name}: {len(places)} files, {tried} faults, {refused} refused,"
        f" {tried - refused - len(silent)} without effect, {len(silent)} silent"
    )
    assert not silent
    assert not unnamed
    assert refused or name == "an interrupted prepare"  # which writes it again
