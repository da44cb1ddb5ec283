"""The linear classifier on features, saved as JSON and arrays; needs no jax."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.special import expit, softmax

from sdjax.errors import Damaged, InputError, naming
from sdjax.files import write_whole
from sdjax.integrity import (
    Verdict,
    array_reason,
    check_files,
    file_digests,
    opened,
    read_object,
    sealed,
)
from sdjax.model.classifier_metadata import check_metadata
from sdjax.portable import path_from, stored_metadata

FORMAT = "sdjax-classifier-1"
TASKS = ("binary", "multiclass", "multilabel")
LINKS = ("sigmoid", "softmax")
DATA = "classifier.json"
ARRAYS = ("coef", "intercept", "thresholds")
_SAME_SOURCE = ("params_sha256", "state", "layers", "pooling", "normalisation")


@dataclass(frozen=True)
class Classifier:
    """A linear classifier on the features of one checkpoint.

    K is the number of scores per text: one for `binary` (that of `classes[1]`), else
    one per class. `thresholds` are probabilities. For `binary` and `multilabel` a class
    is predicted if its probability exceeds its threshold. `multiclass` predicts the
    class that exceeds its threshold most; with equal thresholds that is the most
    probable class.

    Args:
        task: binary, multiclass or multilabel.
        classes: names; two for `binary`, the negative one first.
        coef: float64[K, F], in units of the raw features.
        intercept: float64[K].
        thresholds: float64[K], in [0, 1].
        link: turns scores into probabilities: sigmoid (of each score; for `multiclass`
            normalised to sum 1) or softmax (only for `multiclass`).
        metadata: JSON-able; all keys are optional. The source of the features:
            checkpoint (a path), step, state, pooling, normalisation, precision and
            params_sha256 (hash of the parameters). Results: top_unit (index, sign,
            threshold, quantiles by class) and figures (such as accuracy).

    Raises:
        InputError: the parts are inconsistent.
    """

    task: str
    classes: tuple[str, ...]
    coef: np.ndarray
    intercept: np.ndarray
    thresholds: np.ndarray
    link: str = "sigmoid"
    metadata: dict = field(default_factory=dict)

    def __post_init__(self):
        _check(self)

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
            # If all of them underflow to zero, the classes are equally likely.
            even = np.full_like(probabilities, 1 / len(self.classes))
            return np.divide(probabilities, total, out=even, where=total > 0)
        return probabilities

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the predictions for features float32[N, F].

        Returns:
            int64[N], positions in `classes`; for `multilabel` int64[N, K], 1 where a
            class applies.
        """
        return self.decide(self.predict_proba(features))

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the predictions for probabilities float64[N, K]; see `predict`."""
        above = probabilities - self.thresholds
        if self.task == "multiclass":
            return above.argmax(axis=1)
        labels = (above > 0).astype(np.int64)
        return labels if self.task == "multilabel" else labels[:, 0]

    def check_source(self, metadata: Mapping, place: object) -> None:
        """Check that features, or a model, are those that it was fitted on.

        Args:
            metadata: of a features file, or the same keys of a model.
            place: name for the message, such as the path of the file.

        Raises:
            InputError: a key that both have differs; it names the first one.
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
        be moved together; no absolute path is written.

        Raises:
            InputError: `folder` is a file.
            OSError: names `folder`; it could not be written.
        """
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: is a file; give a folder for the classifier")
        # The relative path had this name before there was `portable`.
        stored = stored_metadata(self.metadata, folder)
        if path := stored.pop("checkpoint_path", None):
            stored["checkpoint"] = path
        data = {
            "format": FORMAT,
            "task": self.task,
            "classes": self.classes,
            "link": self.link,
            "metadata": stored,
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
        """Read a classifier.

        The relative path in `metadata["checkpoint"]` is resolved against the folder.

        Raises:
            InputError: there is none, or it is of another format.
            Damaged: a file is missing or is not what was written.
        """
        folder = Path(folder)
        data = _read_json(folder)
        check_files(folder, data.get("digests", {}), _AGAIN)
        arrays = {name: _read_array(folder / f"{name}.npy") for name in ARRAYS}
        metadata = data["metadata"]
        if metadata.get("checkpoint") and isinstance(metadata["checkpoint"], str):
            metadata["checkpoint"] = path_from(folder, metadata["checkpoint"])
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
        data = read_object(path)
    except (ValueError, OSError) as error:
        raise Damaged(f"{path}: damaged or cut short ({error}); {_AGAIN}") from error
    data = opened(data, path, _AGAIN)
    if (found := data.get("format")) != FORMAT:
        raise InputError(
            f"{path}: format {found!r}, this version reads {FORMAT!r}; {_AGAIN}"
        )
    for key, kind in _TYPES.items():
        if not isinstance(data.get(key), kind):
            raise InputError(f"{path}: {key} is {data.get(key)!r}; {_AGAIN}")
    return data


def _read_array(path: Path) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            array = np.load(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise Damaged(f"{path}: is missing; {_AGAIN}") from error
    except (ValueError, EOFError, OSError, MemoryError) as error:
        reason = array_reason(error)
        raise Damaged(f"{path}: damaged or cut short ({reason}); {_AGAIN}") from error
    if not isinstance(array, np.ndarray) or array.dtype != np.float64:
        raise InputError(f"{path}: not an array of float64; {_AGAIN}")
    return array


def _check(classifier: Classifier) -> None:
    """Refuse inconsistent parts."""

    def require(condition: bool, message: str) -> None:
        if not condition:
            raise InputError(f"classifier: {message}")

    task, classes = classifier.task, classifier.classes
    require(task in TASKS, f"task {task!r} is none of {', '.join(TASKS)}")
    require(
        classifier.link in LINKS,
        f"link {classifier.link!r} is none of {', '.join(LINKS)}",
    )
    require(
        classifier.link == "sigmoid" or task == "multiclass",
        f"link softmax is for multiclass, the task is {task}",
    )
    require(_distinct(classes), f"classes {classes!r} are not different names")
    minimum = {"binary": 2, "multiclass": 2, "multilabel": 1}[task]
    enough = len(classes) == 2 if task == "binary" else len(classes) >= minimum
    require(enough, f"{len(classes)} classes for the task {task}")
    scores = 1 if task == "binary" else len(classes)
    shape = np.shape(classifier.coef)
    require(
        len(shape) == 2 and shape[0] == scores and shape[1] > 0,
        f"coef has shape {shape}, {scores} rows of features are needed",
    )
    for name in ("intercept", "thresholds"):
        shape = np.shape(getattr(classifier, name))
        require(shape == (scores,), f"{name} has shape {shape}, not ({scores},)")
    for name in ARRAYS:
        finite = np.isfinite(getattr(classifier, name)).all()
        require(finite, f"{name} has values that are not finite")
    check_metadata(classifier.metadata, np.shape(classifier.coef)[1])
    inside = np.all((classifier.thresholds >= 0) & (classifier.thresholds <= 1))
    require(inside, f"thresholds {classifier.thresholds} are not probabilities")


def _distinct(classes: Sequence) -> bool:
    """Tell whether all classes are strings, without repeats."""
    return all(isinstance(c, str) for c in classes) and len(set(classes)) == len(
        classes
    )
