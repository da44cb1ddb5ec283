"""Artefacts as versions of sdjax wrote them that noted no digests."""

import json
from pathlib import Path

from sdjax.integrity import SEAL


def without_digests(path: Path) -> dict:
    """Take seal and digests out of a JSON file; return what is left, as written."""
    content = json.loads(path.read_bytes())
    content.pop(SEAL, None)
    content.pop("digests", None)
    path.write_text(json.dumps(content))
    return content
