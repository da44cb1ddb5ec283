"""The corpus on disk, opened: reviews in shards, with a manifest and checksums.

A corpus is a folder: `manifest.json` and `train/ valid/ test/`, each with one raw byte
file per shard (`00000.bin`), the offsets of its reviews (`00000.offsets.npy`,
int64[reviews + 1]) and, where the source has labels, `00000.labels.npy` (float32, NaN
where a review has none; of several labels [reviews, labels]). `sdjax.prepare.pipeline`
writes it.
"""

import hashlib
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sdjax.data.corpus_labels import check_classes, label_keys_of
from sdjax.data.sources import Example
from sdjax.data.text import Normalisation
from sdjax.errors import Damaged, InputError
from sdjax.integrity import SEAL, Verdict, opened, read_object

FORMAT_VERSION = 3  # has several labels of a review; one label or none is still
ONE_LABEL_VERSION = 2  # which older versions read, too
_READABLE = (1, 2, 3)  # 1 names no classes
SPLITS = ("train", "valid", "test")
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Shard:
    """One shard: where its bytes are, how many, and what they must hash to."""

    path: Path
    bytes: int
    reviews: int
    sha256: str
    index_sha256: str


@dataclass(frozen=True)
class Corpus:
    """An opened corpus. Make one with `Corpus.open` or `sdjax.prepare.pipeline`."""

    folder: Path
    manifest: dict
    normalisation: Normalisation
    fingerprint: str
    shards: dict[str, tuple[Shard, ...]]
    label_keys: tuple[str, ...]
    _verified: set[Path] = field(default_factory=set, repr=False, compare=False)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes of the only label; None where labels are numbers."""
        return None if len(self.label_keys) > 1 else self.classes_of(None)

    def classes_of(self, label_key: str | None) -> tuple[str, ...] | None:
        """Return the names of the classes of a label; None where it is a number.

        Args:
            label_key: one of `label_keys`; None for the only one.
        """
        names = self.manifest.get("classes")
        if isinstance(names, dict):
            names = names.get(label_key)
        return None if names is None else tuple(names)

    @classmethod
    def open(cls, folder: str | Path, check_sizes: bool = True) -> "Corpus":
        """Open a corpus folder and check that every shard has its full size.

        Raises:
            InputError: not a corpus, or another format version.
            Damaged: the manifest is not what was written, or a shard is missing or cut
                short.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        try:
            shards = {
                split: tuple(
                    Shard(
                        _inside(folder, entry["file"]),
                        _count(entry["bytes"]),
                        _count(entry["reviews"]),
                        str(entry["sha256"]),
                        str(entry["index_sha256"]),
                    )
                    for entry in manifest["splits"][split]
                )
                for split in SPLITS
            }
            normalisation = Normalisation.from_json(
                manifest["request"]["normalisation"]
            )
            label_keys = label_keys_of(manifest["request"].get("source", {}))
            check_classes(manifest.get("classes"), label_keys)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Damaged(
                f"{folder / MANIFEST}: damaged ({type(error).__name__}: {error}); "
                "prepare the corpus again"
            ) from error
        for split in SPLITS:
            if not sum(shard.bytes for shard in shards[split]):
                raise Damaged(
                    f"{folder / MANIFEST}: damaged, {split} has no text; prepare the"
                    " corpus again"
                )
            for shard in shards[split] if check_sizes else ():
                _check_size(shard)
        identity = [[split, [s.sha256 for s in shards[split]]] for split in SPLITS]
        fingerprint = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
        return cls(folder, manifest, normalisation, fingerprint, shards, label_keys)

    def read(self, split: str, index: int) -> np.ndarray:
        """Map one shard into memory; its SHA-256 is checked the first time.

        Returns:
            uint8[bytes], read-only.

        Raises:
            InputError: the bytes are not those that were prepared.
        """
        shard = self.shards[split][index]
        if shard.path not in self._verified:
            _check_size(shard)
            try:
                with shard.path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                why = f"it cannot be read ({error.strerror})"
                raise _damaged(shard.path, why) from error
            if digest != shard.sha256:
                raise _damaged(shard.path, "its SHA-256 is not that of the manifest")
            self._verified.add(shard.path)
        # A plain array: indexing a np.memmap costs several times as much.
        return np.memmap(shard.path, dtype=np.uint8, mode="r").view(np.ndarray)

    def examples(
        self, split: str, label_keys: Sequence[str] | None = None
    ) -> Iterator[Example]:
        """Yield the reviews of a split as normalised text, in corpus order.

        Args:
            split: train, valid or test.
            label_keys: some of the corpus's; None for all. Of several the label of an
                example is a tuple.
        """
        places = None
        if label_keys is not None and len(self.label_keys) > 1:
            places = [self.label_keys.index(key) for key in label_keys]
            places = places[0] if len(places) == 1 else places
        row = 0
        for index, shard in enumerate(self.shards[split]):
            data = self.read(split, index)
            offsets, labels = self._read_index(shard)
            if labels is not None and places is not None:
                labels = labels[:, places]
            for review in range(shard.reviews):
                symbols = data[offsets[review] : offsets[review + 1]]
                text = self.normalisation.decode(symbols.tobytes())
                label = math.nan if labels is None else labels[review].tolist()
                if isinstance(label, list):
                    label = tuple(label)
                elif math.isnan(label):
                    label = None
                yield Example(text, label, row)
                row += 1

    def lengths(self, split: str, index: int) -> np.ndarray:
        """Return how many bytes each review of a shard has, int64[reviews]."""
        return np.diff(self._read_index(self.shards[split][index])[0])

    def _read_index(self, shard: Shard) -> tuple[np.ndarray, np.ndarray | None]:
        return _read_index(shard, len(self.label_keys))

    def verify(self) -> None:
        """Compare every file with what was prepared; raise `Damaged` for the first."""
        for problem in verify(self.folder).problems:
            raise Damaged(problem)


def verify(folder: Path, progress: bool = False) -> Verdict:
    """Compare every file of a corpus with what was prepared.

    Raises:
        InputError: not a corpus, or of another format version.
    """
    try:
        corpus = Corpus.open(folder, check_sizes=False)
    except Damaged as error:
        return Verdict(problems=[str(error)])
    verdict = Verdict()
    if SEAL in corpus.manifest:
        verdict.checked += 1
    else:
        verdict.without.append(f"manifest {corpus.folder / MANIFEST}")
    shards = [(s, i) for s in SPLITS for i in range(len(corpus.shards[s]))]
    for split, index in tqdm(shards, "verifying", disable=not progress, delay=1):
        verdict.attempt(lambda s=split, i=index: corpus.read(s, i))
        shard = corpus.shards[split][index]
        verdict.attempt(lambda s=shard: corpus._read_index(s))
    return verdict


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a corpus's file.

    Raises:
        Damaged: it would be outside of the corpus.
    """
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        raise Damaged(
            f"{folder / MANIFEST}: damaged, {name!r} is not in the corpus; prepare it"
            " again"
        )
    return folder / path


def _read_index(shard: Shard, labels: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a shard's offsets and, where it has them, labels."""
    several = (labels,) if labels > 1 else ()
    paths = [shard.path.with_suffix(f".{kind}.npy") for kind in ("offsets", "labels")]
    if not paths[0].exists():
        raise _damaged(paths[0], "it is missing")
    try:
        contents = [path.read_bytes() for path in paths if path.exists()]
    except OSError as error:
        raise _damaged(paths[0], f"cannot be read ({error.strerror})") from error
    if hashlib.sha256(b"".join(contents)).hexdigest() != shard.index_sha256:
        raise _damaged(paths[0], "its SHA-256 is not that of the manifest")
    try:
        arrays = [np.load(io.BytesIO(content)) for content in contents]
    except (ValueError, EOFError) as error:
        raise _damaged(paths[0], "it is not an array of numbers") from error
    offsets, labels = arrays[0], arrays[1] if len(arrays) == 2 else None
    counts, shape = (shard.reviews + 1,), (shard.reviews, *several)
    if (
        (offsets.dtype, offsets.shape) != (np.int64, counts)
        or (offsets[0], offsets[-1]) != (0, shard.bytes)
        or (np.diff(offsets) < 0).any()
    ):
        raise _damaged(paths[0], "it does not divide the shard into its reviews")
    if labels is not None and (labels.dtype, labels.shape) != (np.float32, shape):
        raise _damaged(paths[1], "it does not have a label of each review")
    return offsets, labels


def _check_size(shard: Shard) -> None:
    try:
        size = shard.path.stat().st_size
    except OSError as error:
        raise _damaged(shard.path, f"it cannot be read ({error.strerror})") from error
    if size != shard.bytes:
        raise _damaged(shard.path, f"it has {size:,} bytes instead of {shard.bytes:,}")


def _damaged(path: Path, why: str) -> Damaged:
    return Damaged(f"{path}: damaged, {why}; delete the corpus and prepare it again")


def read_manifest(folder: Path) -> dict:
    """Read the manifest of a corpus.

    Raises:
        InputError: not a corpus, or another format version.
        Damaged: the manifest is not what was written.
    """
    path = folder / MANIFEST
    fix = "make one with 'sdjax prepare'"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such corpus folder; {fix}")
    if not path.is_file():
        raise InputError(f"{folder}: not a corpus, it has no {MANIFEST}; {fix}")
    try:
        manifest = read_object(path)
    except (ValueError, OSError) as error:
        raise Damaged(f"{path}: damaged ({error}); prepare it again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != "sdjax corpus":
        raise InputError(f"{path}: not the manifest of a corpus; {fix}")
    opened(manifest, path, "prepare the corpus again")
    if manifest.get("format_version") not in _READABLE:
        raise InputError(
            f"{path}: format version {manifest.get('format_version')}, this sdjax "
            f"reads {' and '.join(map(str, _READABLE))}; prepare the corpus again"
        )
    return manifest
