"""Foreign weights as a checkpoint: a run's folder without a run."""

from dataclasses import replace
from pathlib import Path

import orbax.checkpoint as ocp

from sdjax.checkpoints import orbax_errors as failures
from sdjax.checkpoints.load import fingerprint, model_config
from sdjax.checkpoints.meta import Meta
from sdjax.checkpoints.stored import META, digests, meta_bytes
from sdjax.checkpoints.weights import Imported
from sdjax.files import staged


def write_checkpoint(imported: Imported, out: Path) -> None:
    """Write `<out>/checkpoints/0/`, and `<out>/classifier/` where there is one.

    Args:
        out: must not exist; appears when it is complete.

    Raises:
        InputError: `out` exists.
        OSError: names `out`; it could not be written.
    """
    meta = Meta(
        step=0,
        model=model_config(imported.model),
        normalisation=imported.normalisation,
        # No corpus has this one, so that training does not resume from it.
        corpus="converted",
        source=imported.source,
        digests={"params": digests(imported.params)},
    )
    failures.quiet()
    with staged(out) as folder, failures.naming_folder(out), failures.hushed():
        step = folder / "checkpoints" / "0"
        step.mkdir(parents=True)
        place = step.absolute()
        with ocp.StandardCheckpointer() as writer:
            writer.save(place / "params", imported.params)
        (place / "meta").mkdir()
        (place / "meta" / META).write_bytes(meta_bytes(meta))
        if imported.classifier:
            _write_classifier(imported, step, folder)


def _write_classifier(imported: Imported, step: Path, folder: Path) -> None:
    """Save the classifier, tied to the checkpoint beside it."""
    of = {
        "checkpoint": str(step),
        "step": 0,
        "params_sha256": fingerprint(imported.params),
        "units": imported.model.hidden_size,
        "precision": imported.model.precision,
        "normalisation": imported.normalisation.as_json(),
    }
    classifier = imported.classifier
    replace(classifier, metadata=of | classifier.metadata).save(folder / "classifier")
