"""A fine-tuning under way, on disk: the train state as training saves it.

`<out>/unfinished/` is there from the first moment to the last. Whoever finds it goes on
from the newest checkpoint in it, or begins where there is none.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from sdjax.checkpoints.load import Loaded, fingerprint, model_config
from sdjax.checkpoints.manager import Checkpoints
from sdjax.checkpoints.meta import Meta
from sdjax.errors import InputError, differences
from sdjax.finetune.position import Saved
from sdjax.model.devices import zero_carry
from sdjax.training.step import TrainState

NAME = "unfinished"


class Unfinished:
    """The train state of a fine-tuning, saved as that of a training is.

    Use it as a context manager: leaving waits for the write under way.

    Args:
        out: the folder of the result.
        loaded: the model that is fine-tuned.
        request: JSON-able; what is fine-tuned on what, and how: with anything else it
            cannot go on.
    """

    def __init__(self, out: Path, loaded: Loaded, request: Mapping):
        self._out, self._folder, self._loaded = out, out / NAME, loaded
        self._request = {"params_sha256": fingerprint(loaded.params), **request}

    def __enter__(self):
        self._checkpoints = Checkpoints(self._folder / "checkpoints", keep_last=2)
        self._checkpoints.__enter__()
        return self

    def __exit__(self, *problem):
        self._checkpoints.__exit__(*problem)

    def save(self, state: TrainState, saved: Saved) -> None:
        """Start writing; returns once the arrays are on the host."""
        step = self._step(saved)
        if self._checkpoints.latest == step:  # nothing has happened since
            return
        meta = Meta(
            step=step,
            model=model_config(self._loaded.model),
            normalisation=self._loaded.meta.normalisation,
            # No corpus has this one, so that training does not resume from it.
            corpus="fine-tuned",
            stream=self._request,
            progress=saved.as_json(),
        )
        self._checkpoints.save(state, zero_carry(self._loaded.model, 1, 1), meta)

    @staticmethod
    def _step(saved: Saved) -> int:
        # Two numbers: the end of an epoch is another place than its last batch.
        return 2 * saved.position.taken + (saved.position.batches == 0)

    def resume(self, state: TrainState) -> tuple[TrainState, Saved] | None:
        """Return where it was, None where nothing is saved.

        Args:
            state: of the same shapes.

        Raises:
            InputError: it is a fine-tuning of something else.
        """
        carry = zero_carry(self._loaded.model, 1, 1)
        resumed = self._checkpoints.resume(state, carry, self._check)
        if resumed is None:
            return None
        return resumed.state, Saved.from_json(dict(resumed.meta.progress))

    def _check(self, meta: Meta) -> None:
        if found := differences(meta.stream, self._request):
            raise InputError(
                f"--out {self._out} holds a fine-tuning of something else:"
                f" {'; '.join(found)}; give another folder, or what that one was given"
            )

    def remove(self) -> None:
        """Forget all of it: the result is complete. After `__exit__`."""
        shutil.rmtree(self._folder, ignore_errors=True)
