"""Several processes that train as one, each with the rows of its own devices.

Processes are numbered; the first one writes and prints for all. On one process
everything here does nothing. How they begin and end together is in `peers`.
"""

import json
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from sdjax.checkpoints.manager import Checkpoints, Resumed
from sdjax.checkpoints.meta import Meta
from sdjax.errors import InputError
from sdjax.model.cell import RecurrentState
from sdjax.model.devices import AXIS
from sdjax.terminal import show_lines
from sdjax.training import peers
from sdjax.training.process import StopSignal
from sdjax.training.step import TrainState


def is_first() -> bool:
    """Tell whether this is the process that writes and prints."""
    return jax.process_index() == 0


def say(text: str) -> None:
    """Print on the first process."""
    if is_first():
        show_lines(text, flush=True)


def only_first(make: Callable[[], AbstractContextManager]) -> AbstractContextManager:
    """Return what a function makes on the first process, elsewhere None; to enter."""
    return make() if is_first() else nullcontext()


def own_rows(batch_size: int) -> range:
    """Return which rows of a global batch this process feeds."""
    rows = batch_size // jax.process_count()
    return range(jax.process_index() * rows, (jax.process_index() + 1) * rows)


def from_first(make: Callable[[], Any]) -> Any:
    """Call a function on the first process and give its result, as JSON, to all.

    Raises:
        InputError: on all processes, what the first one raised. Any other failure ends
            the process, and `peers` tells the others.
    """
    if jax.process_count() == 1:
        return make()
    answer = {}
    if is_first():
        try:
            answer["result"] = make()
        except InputError as error:
            answer["error"] = str(error)
    data = np.frombuffer(json.dumps(answer).encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(data))))
    data = data if is_first() else np.zeros(size, np.uint8)
    answer = json.loads(
        np.asarray(multihost_utils.broadcast_one_to_all(data)).tobytes()
    )
    if "error" in answer:
        raise peers.on_all(InputError(answer["error"]))
    return answer["result"]


class SharedStop:
    """A request to stop that all processes see after the same step.

    On several processes every step asks all of them, and reads the answer to what it
    asked some steps ago, so that the devices need not be waited for.

    Args:
        stop: the signals of this process.
        behind: how many steps may be under way.
    """

    def __init__(self, stop: StopSignal, behind: int):
        self._stop, self._behind, self._asked = stop, behind, deque()
        self._any = jax.pmap(
            lambda requested: jax.lax.pmax(requested, AXIS), AXIS, out_axes=None
        )

    def __call__(self) -> int:
        """Return 0, or the number of the signal to stop for; once after each step."""
        if jax.process_count() == 1:
            return self._stop.requested
        here = np.full(jax.local_device_count(), self._stop.requested, np.int32)
        self._asked.append(self._any(here))
        if len(self._asked) <= self._behind:
            return 0
        return int(jax.device_get(self._asked.popleft()))


class SharedCheckpoints:
    """`Checkpoints` that the first process writes and reads, for all processes.

    No other process needs to see its disk. Every method is called on all of them.
    """

    def __init__(self, folder: Path, keep_last: int, keep_every_steps: int = 0):
        self._own = None
        if is_first():
            self._own = Checkpoints(folder, keep_last, keep_every_steps)

    def __enter__(self):
        if self._own is not None:
            self._own.__enter__()
        return self

    def __exit__(self, *error):
        if self._own is not None:
            self._own.__exit__(*error)

    @property
    def latest(self) -> int | None:
        return from_first(lambda: self._own.latest)

    def save(
        self,
        state: TrainState,
        carry: RecurrentState,
        meta: Meta,
    ) -> None:
        carry = jax.tree.map(np.asarray, jax.device_get(carry))
        rows = multihost_utils.process_allgather(carry)  # [processes, devices, B, H]
        if self._own is not None:
            rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)
            self._own.save(state, rows, meta)

    def resume(
        self,
        state: TrainState,
        carry: RecurrentState,
        accept: Callable[[Meta], None],
        step: int | None = None,
    ) -> Resumed | None:
        count = jax.process_count()
        rows = jax.tree.map(
            lambda x: np.zeros((count * x.shape[0], *x.shape[1:]), x.dtype), carry
        )
        read = None

        def decide() -> dict | None:
            nonlocal read
            read = self._own.resume(state, rows, accept, step)
            return read and {"meta": read.meta.as_json(), "damaged": read.damaged}

        found = from_first(decide)
        if found is None:
            return None
        if read is not None:
            state, rows = read.state, read.carry
        state, rows = jax.device_get((state, rows))
        state, rows = multihost_utils.broadcast_one_to_all((state, rows))
        own = own_rows(count * carry.hidden.shape[0])
        carry = jax.tree.map(lambda x: np.asarray(x)[own.start : own.stop], rows)
        meta = Meta.from_json(found["meta"], "of the first process")
        return Resumed(meta, state, carry, found["damaged"])

    def wait(self) -> None:
        if self._own is not None:
            self._own.wait()

    def check(self) -> None:
        if self._own is not None:
            self._own.check()


def checkpoints(
    folder: Path, keep_last: int, keep_every_steps: int
) -> Checkpoints | SharedCheckpoints:
    """Open the checkpoints of a run for this process, or for all that there are."""
    kind = Checkpoints if jax.process_count() == 1 else SharedCheckpoints
    return kind(folder, keep_last, keep_every_steps)
