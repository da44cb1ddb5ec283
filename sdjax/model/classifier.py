"""A classifier on features: linear, saved as JSON and arrays, read without jax."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.special import expit, softmax

from sdjax.errors import Damaged, InputError, naming
from sdjax.files import write_whole
from sdjax.integrity import Verdict, check_files, file_digests, opened, sealed

FORMAT = "sdjax-classifier-1"
TASKS = ("binary", "multiclass", "multilabel")
LINKS = ("sigmoid", "softmax")
DATA = "classifier.json"
ARRAYS = ("coef", "intercept", "thresholds")
_SAME_SOURCE = ("params_sha256", "state", "layers", "pooling", "normalisation")


@dataclass(frozen=True)
class Classifier:
    """A linear classifier on the features of one checkpoint.

    K counts the scores of a text: one for `binary` (that of `classes[1]`), else one for
    each class. `thresholds` are probabilities: a class of `binary` and `multilabel` is
    predicted where its probability is above its threshold; `multiclass` predicts the
    class that is furthest above its own, which with equal ones is the most probable.

    Args:
        task: binary, multiclass or multilabel.
        classes: names; two for `binary`, the negative one first.
        coef: float64[K, F], in units of the raw features.
        intercept: float64[K].
        thresholds: float64[K], in [0, 1].
        link: what makes scores probabilities: sigmoid (each on its own; those of
            `multiclass` are scaled to sum to one) or softmax (`multiclass` only).
        metadata: JSON-able. Whose features it reads: checkpoint (a path), step, state,
            pooling, normalisation, precision and params_sha256 (of its parameters).
            What was found: top_unit (index, sign, threshold, quantiles by class) and
            figures (accuracy and the like). None of them is required.

    Raises:
        InputError: the parts do not fit each other.
    """

    task: str
    classes: tuple[str, ...]
    coef: np.ndarray
    intercept: np.ndarray
    thresholds: np.ndarray
    link: str = "sigmoid"
    metadata: dict = field(default_factory=dict)

    def __post_init__(self):
        _check("classifier", self)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return probabilities, float64[N, K], for features float32[N, F].

        Raises:
            InputError: not [N, F], with F as many features as it was fitted on.
        """
        features = np.asarray(features, np.float64)
        width = self.coef.shape[1]
        if features.ndim != 2 or features.shape[1] != width:
            raise InputError(
                f"features have shape {features.shape}, the classifier reads "
                f"[N, {width}]; featurize with the checkpoint that it was fitted on"
            )
        scores = features @ self.coef.T + self.intercept
        if self.link == "softmax":
            return softmax(scores, axis=1)
        probabilities = expit(scores)
        if self.task == "multiclass":
            total = probabilities.sum(axis=1, keepdims=True)
            # Where all of them vanish, none is likelier than another.
            even = np.full_like(probabilities, 1 / len(self.classes))
            return np.divide(probabilities, total, out=even, where=total > 0)
        return probabilities

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return what is predicted for features float32[N, F].

        Returns:
            int64[N], positions in `classes`; for `multilabel` int64[N, K], 1 where a
            class applies.
        """
        return self.decide(self.predict_proba(features))

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Return `predict` of probabilities float64[N, K] that are known already."""
        above = probabilities - self.thresholds
        if self.task == "multiclass":
            return above.argmax(axis=1)
        labels = (above > 0).astype(np.int64)
        return labels if self.task == "multilabel" else labels[:, 0]

    def check_source(self, metadata: Mapping, place: object) -> None:
        """Refuse features, or a model, that it was not fitted on.

        Args:
            metadata: of a features file, or the same keys of a model.
            place: names them in the message.

        Raises:
            InputError: names the first key that both know and that differs.
        """
        for key in _SAME_SOURCE:
            found, wanted = metadata.get(key), self.metadata.get(key)
            if None not in (found, wanted) and found != wanted:
                raise InputError(
                    f"{place}: {key} is {found!r}, the classifier was fitted on "
                    f"{wanted!r}; use the checkpoint {self.metadata.get('checkpoint')}"
                    " or fit again with sdjax probe"
                )

    def save(self, folder: str | os.PathLike) -> None:
        """Write `classifier.json` and three arrays; an older classifier is replaced.

        The JSON is removed first and written last, so that what an interruption leaves
        does not load. It has the digests of the arrays.
        The path of the checkpoint is written relative to the folder, so that both can
        be moved together.

        Raises:
            InputError: `folder` is a file.
            OSError: names `folder`; it could not be written.
        """
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: is a file; give a folder for the classifier")
        metadata = dict(self.metadata)
        if metadata.get("checkpoint"):
            metadata["checkpoint"] = _relative(metadata["checkpoint"], folder)
        data = {
            "format": FORMAT,
            "task": self.task,
            "classes": self.classes,
            "link": self.link,
            "metadata": metadata,
        }
        with naming(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / DATA).unlink(missing_ok=True)
            for name in ARRAYS:
                array = np.ascontiguousarray(getattr(self, name), np.float64)
                np.save(folder / f"{name}.npy", array, allow_pickle=False)
            data["digests"] = file_digests(folder, _FILES)
            text = json.dumps(sealed(data), indent=2, allow_nan=False) + "\n"
            write_whole(folder / DATA, text.encode())

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Classifier":
        """Read a classifier; `metadata["checkpoint"]` is a path that can be opened.

        Raises:
            InputError: there is none, or it is of another format.
            Damaged: a file is missing or is not what was written.
        """
        folder = Path(folder)
        data = _read_json(folder)
        check_files(folder, data.get("digests", {}), _AGAIN)
        arrays = {name: _read_array(folder / f"{name}.npy") for name in ARRAYS}
        metadata = data["metadata"]
        if metadata.get("checkpoint"):
            path = os.path.join(folder, metadata["checkpoint"])
            metadata["checkpoint"] = os.path.normpath(path)
        parts = {
            "task": data["task"],
            "classes": tuple(data["classes"]),
            "link": data["link"],
            "metadata": metadata,
        }
        try:
            return cls(**parts, **arrays)
        except InputError as error:
            raise InputError(f"{folder}: {error}; {_AGAIN}") from error


def verify(folder: Path) -> Verdict:
    """Compare the files of a classifier with what was written.

    Raises:
        InputError: there is no classifier, or one of another format.
    """
    verdict = Verdict()
    try:
        data = _read_json(folder)
    except Damaged as error:
        return Verdict(problems=[str(error)])
    if "digests" not in data:
        return Verdict(without=[f"classifier {folder}"])
    verdict.checked += 1
    verdict.files(folder, data["digests"], _AGAIN)
    return verdict


_FILES = tuple(f"{name}.npy" for name in ARRAYS)
_AGAIN = "write it again with sdjax probe or sdjax finetune"
_TYPES = {"task": str, "classes": list, "link": str, "metadata": dict}


def _read_json(folder: Path) -> dict:
    path = folder / DATA
    if not path.is_file():
        raise InputError(
            f"{folder}: no classifier there ({DATA}); sdjax probe writes one to "
            "<report>/classifier"
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise Damaged(f"{path}: damaged or cut short ({error}); {_AGAIN}") from error
    if isinstance(data, dict):
        data = opened(data, path, _AGAIN)
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise InputError(
            f"{path}: format {found!r}, this version reads {FORMAT!r}; {_AGAIN}"
        )
    for key, kind in _TYPES.items():
        if not isinstance(data.get(key), kind):
            raise InputError(f"{path}: {key} is {data.get(key)!r}; {_AGAIN}")
    if not isinstance(data["metadata"].get("checkpoint", ""), str | None):
        raise InputError(f"{path}: checkpoint is not a path; {_AGAIN}")
    return data


def _read_array(path: Path) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            array = np.load(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise Damaged(f"{path}: is missing; {_AGAIN}") from error
    except (ValueError, EOFError, OSError) as error:
        raise Damaged(f"{path}: damaged or cut short ({error}); {_AGAIN}") from error
    if not isinstance(array, np.ndarray) or array.dtype != np.float64:
        raise InputError(f"{path}: not an array of float64; {_AGAIN}")
    return array


def _check(place: str, given: Classifier) -> None:
    """Refuse parts that do not fit each other."""

    def require(right: bool, message: str) -> None:
        if not right:
            raise InputError(f"{place}: {message}")

    task, classes = given.task, given.classes
    require(task in TASKS, f"task {task!r} is none of {', '.join(TASKS)}")
    require(given.link in LINKS, f"link {given.link!r} is none of {', '.join(LINKS)}")
    require(
        given.link == "sigmoid" or task == "multiclass",
        f"link softmax is for multiclass, the task is {task}",
    )
    require(_names(classes), f"classes {classes!r} are not different names")
    least = {"binary": 2, "multiclass": 2, "multilabel": 1}[task]
    right = len(classes) == 2 if task == "binary" else len(classes) >= least
    require(right, f"{len(classes)} classes for the task {task}")
    scores = 1 if task == "binary" else len(classes)
    shape = np.shape(given.coef)
    require(
        len(shape) == 2 and shape[0] == scores and shape[1] > 0,
        f"coef has shape {shape}, {scores} rows of features are needed",
    )
    for name in ("intercept", "thresholds"):
        shape = np.shape(getattr(given, name))
        require(shape == (scores,), f"{name} has shape {shape}, not ({scores},)")
    for name in ARRAYS:
        finite = np.isfinite(getattr(given, name)).all()
        require(finite, f"{name} has values that are not finite")
    inside = np.all((given.thresholds >= 0) & (given.thresholds <= 1))
    require(inside, f"thresholds {given.thresholds} are not probabilities")


def _names(classes: Sequence) -> bool:
    """Whether they are strings, and all different."""
    return all(isinstance(c, str) for c in classes) and len(set(classes)) == len(
        classes
    )


def _relative(path: str, folder: Path) -> str:
    """Return a path as seen from the folder; unchanged where it is on another drive."""
    try:
        return os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
    except ValueError:
        return os.path.abspath(path)
