"""Around fine-tuning: labelled files in, a checkpoint with its classifier out."""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import optax
from sklearn import metrics

from sdjax.checkpoints.load import (
    Loaded,
    checkpoint_steps,
    fingerprint,
    load_model,
    model_config,
)
from sdjax.checkpoints.manager import Checkpoints
from sdjax.errors import InputError, naming
from sdjax.features.featurizer import TextFeaturizer
from sdjax.finetune.position import Saved, Tuned
from sdjax.finetune.settings import Settings
from sdjax.finetune.splits import Labelled, digest_of
from sdjax.finetune.unfinished import NAME, Unfinished
from sdjax.locks import locked
from sdjax.model.classifier import Classifier
from sdjax.model.devices import zero_carry
from sdjax.model.precision import loss_scale
from sdjax.portable import stored_metadata
from sdjax.probe.logistic import LinearFit
from sdjax.probe.ranking import rank_units, separations
from sdjax.probe.sweep import Split, scores_of
from sdjax.probe.targets import Targets
from sdjax.probe.unit import class_differences, describe_unit
from sdjax.terminal import printable
from sdjax.training.step import TrainState, create_train_state


def line(record: Mapping, targets: Targets) -> str:
    """Say in a line what an epoch came to."""
    if not record["epoch"]:
        start = "head alone     "
    else:
        start = f"epoch {record['epoch']}: loss {record['train_loss']:.3f}"
        start += f", {record['train_bpc']:.3f} bits per character"
        if record["skipped"]:
            start += f", {record['skipped']} updates skipped so far"
    return (
        f"{start}; valid {targets.criterion} {record['valid_score']:.2%},"
        f" loss {record['valid_loss']:.3f}"
    )


class Folder:
    """The folder of a fine-tuned model: `checkpoints/<updates>/` and `classifier/`.

    The classifier names its own checkpoint, and the one before it stays until the next
    is written, so what is in the folder fits together at any moment. `unfinished/` is
    there until `finish`.

    Args:
        path: of the folder, without an earlier model that is complete.
        loaded: the model that is fine-tuned.
        targets, settings: noted in the checkpoint and the classifier.
        splits: the texts and labels, by split.

    Raises:
        InputError: the folder holds a model already.
    """

    def __init__(
        self,
        path: Path,
        loaded: Loaded,
        targets: Targets,
        settings: Settings,
        splits: Mapping[str, Labelled],
    ):
        if checkpoint_steps(path) and not (path / NAME).is_dir():
            raise InputError(f"--out {path} holds a model already: use another folder")
        with naming(path):
            (path / NAME).mkdir(parents=True, exist_ok=True)
        self.path, self._loaded, self._targets = path, loaded, targets
        self._settings = settings
        request = {
            **asdict(settings),
            "precision": loaded.model.precision,
            "normalisation": loaded.meta.normalisation.as_json(),
            "classes": list(targets.classes),
            **{f"{name}_xxh3": digest_of(split) for name, split in splits.items()},
        }
        self._unfinished = Unfinished(path, loaded, request)

    def __enter__(self):
        with ExitStack() as stack:
            refusal = (
                f"--out {self.path} is in use: another process writes there; wait for"
                " it, or give another folder"
            )
            stack.enter_context(locked(self.path / ".lock", refusal))
            self._checkpoints = stack.enter_context(
                Checkpoints(self.path / "checkpoints", keep_last=2)
            )
            stack.enter_context(self._unfinished)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *problem):
        self._stack.__exit__(*problem)

    def save(self, state: TrainState, saved: Saved) -> None:
        """Save all that the next update depends on; see `Unfinished`."""
        self._unfinished.save(state, saved)

    def resume(self, state: TrainState) -> tuple[TrainState, Saved] | None:
        """Return what was saved last, None where nothing was; see `Unfinished`."""
        return self._unfinished.resume(state)

    def params_of(self, updates: int) -> dict:
        """Return the parameters that `keep` saved.

        Raises:
            Damaged: they are not what was saved.
        """
        return load_model(self._step(updates), self._loaded.model.precision).params

    def _step(self, updates: int) -> Path:
        return self.path / "checkpoints" / str(updates)

    def _holds(self, best: Tuned) -> bool:
        """Tell whether a model is there already, from before an interruption."""
        try:
            there = self.params_of(best.updates)
        except InputError:
            return False
        return fingerprint(there) == fingerprint(best.params)

    def keep(self, best: Tuned) -> None:
        """Save a model that was better on valid than all before."""
        if not self._holds(best):
            self._save_model(best)
        self._write(best.classifier, best, {})

    def _save_model(self, best: Tuned) -> None:
        model = self._loaded.model
        scale = loss_scale(model.precision)
        # Without Adam's moments: only features are made of this, no training resumes.
        state = create_train_state(model, optax.identity(), scale, best.params)
        meta = replace(
            self._loaded.meta,
            step=best.updates,
            model=model_config(model),
            valid_bpc=None,
            # No corpus has this one, so that training does not resume from it.
            corpus="fine-tuned",
            finetuned={
                "from": self._origin(self.path / "checkpoints"),
                "settings": asdict(self._settings),
                "epoch": best.epoch,
            },
        )
        if self._step(best.updates).exists():  # of another machine, or damaged
            shutil.rmtree(self._step(best.updates))
            self._checkpoints.reload()
        self._checkpoints.save(state, zero_carry(model, 1, 1), meta)
        self._checkpoints.wait()

    def _write(self, classifier: Classifier, best: Tuned, found: dict) -> None:
        featurizer = TextFeaturizer.from_loaded(self._final(best))
        figures = {"valid": {self._targets.criterion: best.score, "loss": best.loss}}
        metadata = {
            **featurizer.metadata(),
            "finetuned_from": self._origin(self.path / "classifier"),
            **found,
            "figures": figures | found.get("figures", {}),
        }
        replace(classifier, metadata=metadata).save(self.path / "classifier")

    def _origin(self, folder: Path) -> dict:
        """Say which model was fine-tuned, as seen from a folder of the result."""
        known = {
            "checkpoint_name": self._loaded.name or None,
            "checkpoint": str(self._loaded.path),
            "params_sha256": fingerprint(self._loaded.params),
        }
        return stored_metadata(known, folder)

    def _final(self, best: Tuned) -> Loaded:
        return self._loaded._replace(
            params=best.params,
            meta=replace(self._loaded.meta, step=best.updates),
            path=self._step(best.updates),
            name="",
        )

    def done(self) -> None:
        """Remove what a resumed run would need; after the context is left."""
        self._unfinished.remove()

    def finish(self, best: Tuned, splits: Mapping[str, Labelled]) -> str:
        """Measure test, describe the strongest unit, write both; return the figures."""
        featurizer = TextFeaturizer.from_loaded(self._final(best), progress=True)
        data = {}
        for name in ("valid", "test"):
            texts, positions = splits[name]
            columns = self._targets.columns(positions)
            data[name] = Split(featurizer.transform(texts), positions, columns)
        predicted = best.classifier.predict(data["test"].features)
        scores = scores_of(self._targets, best.classifier, data["test"])
        majority = self._targets.majority(data["test"].positions)
        found = {
            "top_unit": self._top_unit(best.classifier, data),
            "figures": {"test": scores, "majority": {"test": majority}},
        }
        self._write(best.classifier, best, found)
        table = report(self._targets, data["test"].positions, predicted, majority)
        return f"{table}\nclassifier: {self.path / 'classifier'}"

    def _top_unit(self, classifier: Classifier, data: Mapping[str, Split]) -> dict:
        """Describe the top unit, as in the probe; fitted on valid."""
        features, columns = data["valid"].features, data["valid"].columns
        effects = classifier.coef * class_differences(features, columns)
        unit = rank_units(effects, features, columns)[0]
        column = separations(features[:, [unit]], columns).argmax()
        fits = [
            LinearFit(w, float(b))
            for w, b in zip(classifier.coef, classifier.intercept, strict=True)
        ]
        named = {"train": data["valid"], "test": data["test"]}
        # Of cells after the last byte, which need no name but their number.
        read = {"state": "cell", "pooling": "last"}
        about = int(unit), int(column), self._targets, fits, named, read
        top = asdict(describe_unit(*about))
        top["accuracy"] = {"valid": top["accuracy"]["train"], **top["accuracy"]}
        del top["accuracy"]["train"]
        return top | {"classes": list(self._targets.sides[column])}


def report(
    targets: Targets, true: np.ndarray, predicted: np.ndarray, majority: float
) -> str:
    """Lay out what was reached on test, in all and by class.

    Args:
        targets: the task.
        true, predicted: positions, as of `Targets`.
        majority: accuracy of always naming the most frequent label.
    """
    scores = targets.scores(true, predicted)
    named = targets.task == "multilabel"
    rows = [
        ("accuracy", scores["accuracy"]),
        ("majority class", majority),
        ("F1, mean over classes", scores["f1_macro"]),
        ("Jaccard, mean over classes", scores["jaccard"]),
        ("Matthews" + (", mean over classes" if named else ""), scores["matthews"]),
    ]
    width = max(len(name) for name, _ in rows) + 2
    lines = ["test", *(f"{name:<{width}}{value:.4f}" for name, value in rows)]
    lines.append(f"{'by class':<{width}}{'F1':>8}{'Jaccard':>9}{'Matthews':>10}")
    for k, name in enumerate(targets.classes):
        pair = [x[:, k] if named else x == k for x in (true, predicted)]
        f1 = metrics.f1_score(*pair, zero_division=0.0)
        jaccard = metrics.jaccard_score(*pair, zero_division=0.0)
        matthews = metrics.matthews_corrcoef(*pair)
        lines.append(
            f"{printable(name):<{width}}{f1:>8.4f}{jaccard:>9.4f}{matthews:>10.4f}"
        )
    return "\n".join(lines)
