"""Published models by the name of their repository on the Hugging Face hub."""

import re
from pathlib import Path

from sdjax.convert.published import CONFIG, WEIGHTS
from sdjax.errors import InputError

_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def is_hub_name(path: Path) -> bool:
    """Whether a path can only be a name on the hub: `owner/name`, not a place here.

    Where there is a folder `owner`, it is a path that was mistyped.
    """
    return bool(_NAME.fullmatch(str(path))) and not path.parent.exists()


def fetch(name: str) -> Path:
    """Return the folder of a published model, downloaded unless it is here already.

    Raises:
        InputError: huggingface_hub is not installed, there is no network or no such
            model.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import EntryNotFoundError
    except ImportError as error:
        raise InputError(
            f"no checkpoint in {name}, there is no such folder; for a model of that"
            " name on the hub install huggingface_hub (pip install 'sdjax[hub]')"
        ) from error
    try:
        return Path(snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS]))
    except (OSError, ValueError, EntryNotFoundError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"no checkpoint in {name}, there is no such folder, and the hub gave no"
            f" model of that name ({reason}); check the path, the name and the network"
        ) from error
