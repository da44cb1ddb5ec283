"""Files as bytes: plain, compressed or in an archive, by their content alone."""

import bz2
import contextlib
import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sdjax.errors import InputError

# Endings that say nothing about what is inside.
SUFFIXES = (".gz", ".zst", ".bz2", ".xz", ".zip", ".tar")
_SHORT = {".tgz": ".tar.gz", ".tbz2": ".tar.bz2", ".txz": ".tar.xz"}

_MAGIC = (
    ("gzip", re.compile(rb"\x1f\x8b\x08")),
    ("zstd", re.compile(rb"\x28\xb5\x2f\xfd")),
    ("bz2", re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)", re.DOTALL)),
    ("xz", re.compile(rb"\xfd7zXZ\x00")),
)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_MOST_LAYERS = 3  # a tar in a gzip in a zip


class Stored(NamedTuple):
    """Where the bytes of a file are.

    path: of the file, or of the archive that it is in.
    member: its name in the archive, "" outside of one.
    shown: what messages call it; "" for its path.
    """

    path: Path
    member: str = ""
    shown: str = ""

    def __str__(self) -> str:
        if self.shown:
            return self.shown
        return f"{self.path}::{self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """The name whose ending may say what the file is."""
        return Path(self.member or self.path).name


def bare_suffixes(name: str) -> tuple[str, tuple[str, ...]]:
    """Split a name into the ending of its format and those of compressions.

    Both in lower case: "r.CSV.gz" gives ".csv" and (".gz",).
    """
    name, packed = name.lower(), []
    for short, long in _SHORT.items():
        if name.endswith(short):
            name = name.removesuffix(short) + long
    while (suffix := Path(name).suffix) in SUFFIXES:
        packed.append(suffix)
        name = name.removesuffix(suffix)
    return suffix, tuple(packed)


@contextlib.contextmanager
def opened(stored: Stored) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Give the file as it is on disk, for its position, and what is in it.

    Raises:
        InputError: what is in it is damaged; this holds for what is read from it, too.
    """
    with naming_damage(stored), contextlib.ExitStack() as stack:
        raw = stack.enter_context(stored.path.open("rb"))
        stream = raw
        if stored.member:
            stream = stack.enter_context(_member(stored, raw))
        yield raw, _unpacked(stored, stream, stack)


def look(stored: Stored, count: int) -> tuple[bytes, str]:
    """Read the beginning of a file.

    Args:
        stored: where it is.
        count: bytes of what is in it.

    Returns:
        The bytes, and what they were packed in: "", a compression, "zip" or "tar". Of
        archives that have not been looked into the bytes are their own.
    """
    with opened(stored) as (_, stream):
        layers = getattr(stream, "layers", ())
        head = stream.read(count)
    if not stored.member and head.startswith(_ZIP):
        return head, "zip"
    if not stored.member and head[257:262] == b"ustar":
        return head, "tar"
    return head, layers[-1] if layers else ""


def is_zip(path: Path) -> bool:
    """Tell whether a file is a zip archive."""
    with path.open("rb") as file:
        return file.read(4) in _ZIP


@contextlib.contextmanager
def naming_damage(stored: Stored) -> Iterator[None]:
    """Turn what a damaged archive raises into an error that names it."""
    try:
        yield
    except (
        EOFError,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
        tarfile.TarError,
        *_zstd_errors(),
    ) as error:
        raise _damaged(stored, error) from error
    except RuntimeError as error:
        if "password" not in str(error):
            raise
        raise InputError(f"{stored}: is locked with a password; unpack it") from error
    except OSError as error:
        if error.errno is not None:  # of the disk, not of the content
            raise
        raise _damaged(stored, error) from error


def _damaged(stored: Stored, error: Exception) -> InputError:
    with stored.path.open("rb") as file:
        kind = "zip" if is_zip(stored.path) else _kind(file.read(512)) or "archive"
    return InputError(f"{stored}: damaged {kind} file ({error}); fetch it again")


class _Unpacked(io.BufferedReader):
    """What is in a compressed stream; `layers` says how it was compressed."""

    layers: tuple[str, ...] = ()


def _unpacked(stored: Stored, stream: BinaryIO, stack: contextlib.ExitStack):
    kinds = ()
    while (kind := _kind(_peek(stream, 512))) and len(kinds) < _MOST_LAYERS:
        packed = stack.enter_context(_decompressor(stored, kind)(stream))
        stream = _Unpacked(packed)
        stream.layers = kinds = (*kinds, kind)
    return stream


def _peek(stream: BinaryIO, count: int) -> bytes:
    if isinstance(stream, io.BufferedReader):
        return stream.peek(count)[:count]
    place = stream.tell()
    head = stream.read(count)
    stream.seek(place)
    return head


def _kind(head: bytes) -> str | None:
    return next((kind for kind, magic in _MAGIC if magic.match(head)), None)


def _decompressor(stored: Stored, kind: str):
    if kind == "zstd":
        return _zstd(stored).ZstdFile
    return {"gzip": _Gzip, "bz2": bz2.BZ2File, "xz": _Xz}[kind]


def _Gzip(stream: BinaryIO) -> gzip.GzipFile:  # noqa: N802 (stands for a class)
    return gzip.GzipFile(fileobj=stream)


class _Xz(io.RawIOBase):
    """What is in an xz stream, with a bound on the memory that it may ask for.

    `lzma.LZMAFile` gives whatever the file asks for, up to 4 GB.
    """

    def __init__(self, stream: BinaryIO):
        self._stream, self._decoder, self._waiting = stream, None, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while True:
            if self._decoder is None:
                self._waiting = self._waiting or self._stream.read(_XZ_CHUNK)
                if not self._waiting.strip(b"\0"):  # padding between streams
                    if not self._waiting:
                        return 0
                    self._waiting = b""
                    continue
                self._waiting = self._waiting.lstrip(b"\0")
                self._decoder = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
            if self._decoder.needs_input and not self._waiting:
                self._waiting = self._stream.read(_XZ_CHUNK)
                if not self._waiting:
                    raise EOFError("the file ends before the end of its xz stream")
            data = self._decoder.decompress(self._waiting, len(buffer))
            self._waiting = b""
            if self._decoder.eof:
                self._waiting, self._decoder = self._decoder.unused_data, None
            if data:
                buffer[: len(data)] = data
                return len(data)


_XZ_CHUNK = 2**16  # bytes
_XZ_MEMORY = 2**29  # bytes; `xz -9` asks for 65 million


def _zstd(stored: Stored):
    module = _zstd_module()
    if module is None:
        raise InputError(
            f"{stored}: reading zstd takes one more package: pip install 'sdjax[zstd]'"
        )
    return module


def _zstd_module():
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            return None
    return zstd


def _zstd_errors() -> tuple:
    module = _zstd_module()
    return () if module is None else (module.ZstdError,)


@contextlib.contextmanager
def _member(stored: Stored, raw: BinaryIO) -> Iterator[BinaryIO]:
    """Open a member of an archive; nothing is ever written to a disk."""
    if is_zip(stored.path):
        with zipfile.ZipFile(raw) as archive, archive.open(stored.member) as member:
            yield io.BufferedReader(member)
        return
    with contextlib.ExitStack() as stack:
        stream = _unpacked(stored, raw, stack)
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for entry in archive:
                if entry.isfile() and entry.name == stored.member:
                    yield archive.extractfile(entry)
                    return
    raise InputError(f"{stored}: there is no such file in the archive")
