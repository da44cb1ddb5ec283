"""The checkpoint that features or a classifier were made with, wherever it is now."""

from collections.abc import Mapping
from pathlib import Path

from sdjax.checkpoints.load import Loaded, fingerprint, load_model
from sdjax.errors import InputError


def find_checkpoint(
    metadata: Mapping, given: Path | None = None, precision: str | None = None
) -> Loaded:
    """Load the checkpoint that metadata names: from its path, else by its name.

    What has other parameters is not taken: the hash decides.

    Args:
        metadata: of features or a classifier, as it was read.
        given: look here alone.
        precision: as for `load_model`.

    Raises:
        InputError: it is in none of these places; says what is wrong with each.
    """
    wanted = metadata.get("params_sha256")
    named = [metadata.get(key) for key in ("checkpoint", "checkpoint_name")]
    places = [given] if given else [Path(place) for place in named if place]
    if not places:
        known = f" of the parameters {wanted[:12]}..." if wanted else ""
        raise InputError(
            f"no checkpoint{known} is named that lies in one tree with this: give"
            " --checkpoint"
        )
    problems = []
    for place in places:
        try:
            loaded = load_model(place, precision)
        except InputError as error:
            problems.append(str(error))
            continue
        if wanted in (None, found := fingerprint(loaded.params)):
            return loaded
        problems.append(
            f"{place}: params_sha256 is {found!r}, {wanted!r} was read: it is another"
            " model; give --checkpoint"
        )
    raise InputError("; ".join(problems))
