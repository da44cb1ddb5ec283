"""Is what was read from disk what was written? Digests of arrays, files and JSON.

Everything here is XXH3 with 128 bits, which finds damage at the speed of memory; it is
no protection from somebody who wants to deceive. A model's `fingerprint` and the shards
of a corpus keep SHA-256: those digests are names that other files and other machines
already refer to.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from xxhash import xxh3_128

from sdjax.errors import Damaged

SEAL = "xxh3_128"  # the key under which a JSON object keeps its own digest
_CHUNK = 2**22  # bytes of a file that are read at a time


def array_digest(array: np.ndarray) -> str:
    """Return the digest of an array: its dtype, its shape and its bytes."""
    array = np.asarray(array)
    # A view of bytes: not every dtype that jax has can be given out as a buffer.
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return chunks_digest(array.dtype, array.shape, [content])


def chunks_digest(
    dtype: np.dtype, shape: tuple[int, ...], chunks: Iterable[bytes]
) -> str:
    """Return the digest of an array whose bytes come in pieces, as `array_digest`."""
    digest = xxh3_128(f"{np.dtype(dtype).str} {shape}\n".encode())
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Return the digest of a file's bytes.

    Raises:
        OSError: it cannot be read.
    """
    digest = xxh3_128()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def file_digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the digests of some files of a folder, by name."""
    return {name: file_digest(folder / name) for name in names}


def array_reason(error: Exception) -> str:
    """Say in one line why an array could not be read.

    NumPy's own advice about an array of Python objects is to run what is in it.
    """
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if "pickle" in reason:
        return "it holds Python objects, which are not read"
    return reason


MOST_JSON = 2**26  # bytes of a JSON file that describes an artefact


def read_object(path: Path, most: int = MOST_JSON) -> dict:
    """Read a file that holds one JSON object.

    Raises:
        ValueError: it holds anything else, nested too deeply or too much of it.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than the {most:,} bytes that are read")
    return parse_object(content)


def parse_object(content: bytes | str) -> dict:
    """Parse one JSON object; raises as `read_object`."""
    try:
        found = json.loads(content)
    except RecursionError as error:
        raise ValueError("its brackets are nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def sealed(content: Mapping) -> dict:
    """Return a JSON-able object with its own digest added to it."""
    return {**content, SEAL: _own_digest(content)}


def opened(content: Mapping, place: object, fix: str) -> dict:
    """Return a sealed object without its seal; one that never had a seal as it is.

    Args:
        content: as it was read.
        place: names it in the message.
        fix: says what to do about it.

    Raises:
        Damaged: it is not what was sealed.
    """
    content = dict(content)
    seal = content.pop(SEAL, None)
    if seal is not None and seal != _own_digest(content):
        raise Damaged(f"{place}: damaged, it is not what was written; {fix}")
    return content


def _own_digest(content: Mapping) -> str:
    """Return the digest of an object, whatever the order and spacing of its JSON."""
    plain = {key: value for key, value in content.items() if key != SEAL}
    # Read back first: a key that is a number and a tuple are something else in JSON.
    plain = json.loads(json.dumps(plain))
    return xxh3_128(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def check_files(
    folder: Path, digests: Mapping[str, str], fix: str, names: Iterable[str] = ()
) -> None:
    """Compare files with the digests that were noted when they were written.

    Args:
        digests: by name.
        names: only these; all of them by default.

    Raises:
        Damaged: a file is missing, cannot be read or differs; names it.
    """
    for name in names or digests:
        if name in digests:
            check_file(folder / name, digests[name], fix)


def check_file(path: Path, wanted: str, fix: str) -> None:
    """Compare one file with its digest; raises as `check_files`."""
    try:
        found = file_digest(path)
    except FileNotFoundError as error:
        raise Damaged(f"{path}: is missing; {fix}") from error
    except OSError as error:
        reason = error.strerror or error
        raise Damaged(f"{path}: cannot be read ({reason}); {fix}") from error
    if found != wanted:
        raise Damaged(f"{path}: damaged, it is not what was written; {fix}")


@dataclass
class Verdict:
    """What `sdjax verify` found out about an artefact.

    Args:
        checked: how many files or arrays are what was written.
        problems: a line for each part that is not.
        without: parts that have no digest, because an older version wrote them.
    """

    checked: int = 0
    problems: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)

    def files(self, folder: Path, digests: Mapping[str, str], fix: str) -> None:
        """Check some files of a folder, as `check_files`, and note what was found."""
        for name, wanted in digests.items():
            self.attempt(lambda n=name, w=wanted: check_file(folder / n, w, fix))

    def attempt(self, check) -> bool:
        """Call a function that raises where something is damaged; note the outcome."""
        try:
            check()
        except (Damaged, OSError) as error:
            self.problems.append(str(error))
            return False
        self.checked += 1
        return True

    def add(self, other: "Verdict") -> None:
        """Add what was found out about a part."""
        self.checked += other.checked
        self.problems += other.problems
        self.without += other.without
