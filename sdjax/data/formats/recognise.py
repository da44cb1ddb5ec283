"""What is in a file: told by its bytes, by its name, or by what the user says.

How it is compressed and encoded goes by the bytes alone; the format by a known ending
of the name, else by the content. Where name and content contradict each other, or the
content could be two things, the error names the option that decides it.
"""

import io
import os
import stat
from pathlib import Path

from sdjax.data.formats import archives, columnar, delimited, stars
from sdjax.data.formats.compression import Stored, bare_suffixes, look
from sdjax.data.formats.contents import (
    by_content,
    names_a_text,
    opens_json,
    shape_of_json,
    usual,
)
from sdjax.data.formats.layout import Layout
from sdjax.data.formats.lines import MARK, TextForm, decoded_chunks
from sdjax.data.formats.options import Options
from sdjax.errors import InputError

_BY_SUFFIX = {
    ".txt": "text",
    ".pos": "text",
    ".neg": "text",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".fasta": "fasta",
    ".fa": "fasta",
    ".faa": "fasta",
}
SUFFIXES = (*_BY_SUFFIX, ".data")

_HEAD_BYTES = 2**18  # looked at, uncompressed
_MOST_NULS = 0.01
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


def recognise(
    stored: Stored, options: Options, wanted: tuple[str, ...]
) -> tuple[Layout, list[str], list[str]]:
    """Find out how a file or folder is to be read.

    Args:
        stored: where it is; of an archive the one file in it is taken.
        options: what the user says.
        wanted: keys that the user names, or that usually hold texts.

    Returns:
        The layout; the names of the columns of a table ([] of others); notes to be
        shown, of what is not as its name says.

    Raises:
        InputError: it cannot be read, or not as its name or the options say.
    """
    if stored.path.is_dir():
        saved = columnar.is_saved(stored.path)
        return Layout(stored, "saved" if saved else "stars"), [], []
    if stored.member:
        inside = archives.names(stored._replace(member=""))
        if stored.member not in inside:
            return _folder_in_archive(stored, inside), [], []
    head, packed = look(stored, _HEAD_BYTES)
    if packed in ("zip", "tar"):
        stored = archives.data_member(stored)
        head, packed = look(stored, _HEAD_BYTES)
    suffix, endings = bare_suffixes(stored.name)
    whole, notes = len(head) < _HEAD_BYTES, []
    if endings and not packed:
        notes.append(f"{stored}: is not compressed in spite of its name; read as it is")
    if not head:
        raise InputError(f"{stored}: the file is empty")
    columnar_format = _columnar(head, suffix)
    if columnar_format or options.format in ("parquet", "arrow"):
        if packed or stored.member:
            raise InputError(
                f"{stored}: {columnar_format} files are read where they lie; unpack it"
            )
        named = options.format or _BY_SUFFIX.get(suffix, columnar_format)
        found = columnar_format or named
        if named != found:
            raise _contradiction(stored, suffix, found)
        return Layout(stored, found), [], notes
    form = _text_form(stored, head, options, bool(packed))
    text = _decoded(head, form, whole)
    format, shape, more = _format(stored, text, suffix, whole, options)
    notes += [f"{stored}: read as {more}"] if more else []
    layout = Layout(stored, format, form, shape)
    if format != "csv":
        return layout, [], notes
    hint = ".tsv" if options.format == "tsv" else suffix
    dialect, note = delimited.find_dialect(text, hint, options)
    notes += [f"{stored}: {note}"] if note else []
    layout = layout._replace(dialect=dialect)
    return layout, delimited.columns(layout, text, wanted), notes


def check_readable(path: Path) -> os.stat_result:
    """Return the status of a file or folder that can be read and is not empty.

    Raises:
        InputError: says which of these.
    """
    try:
        status = path.stat()
    except OSError:
        raise InputError(
            f"{path}: no such file; give a path, tfds:NAME or hf:NAME, or - for"
            " standard input"
        ) from None
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: not readable; check its permissions")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise InputError(f"{path}: the file is empty")
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise InputError(f"{path}: neither a file nor a folder; give one")
    return status


def _folder_in_archive(stored: Stored, names: list[str]) -> Layout:
    prefix = stored.member.strip("/") + "/"
    if stars.are_stars(names, prefix):
        return Layout(stored, "stars")
    below = [name for name in names if name.removeprefix("./").startswith(prefix)]
    shown = ", ".join((below or names)[:8])
    raise InputError(f"{stored}: no such file in the archive, which has {shown}, ...")


def _columnar(head: bytes, suffix: str) -> str:
    if head.startswith(b"PAR1"):
        return "parquet"
    stream = head.startswith(b"\xff\xff\xff\xff") and suffix in (".arrow", "")
    return "arrow" if stream or head.startswith(b"ARROW1") else ""


def _text_form(stored: Stored, head: bytes, options: Options, packed: bool) -> TextForm:
    """Find out the encoding, and how lines end."""
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "")
    if not encoding and options.encoding:
        usual = options.encoding.lower().replace("_", "-") in (
            "utf-8",
            "utf8",
            "utf-8-sig",
        )
        encoding = "" if usual else options.encoding
    nuls = head.count(0)
    if not encoding and nuls > _MOST_NULS * len(head):
        even = head[::2].count(0)
        order = "utf-16-be" if even > nuls - even else "utf-16-le"
        raise InputError(
            f"{stored}: {nuls / len(head):.0%} of its bytes are NUL: it looks like"
            f" UTF-16 without a byte order mark; give --encoding {order}, or"
            " another file if it is no text"
        )
    sample = head
    if encoding:
        sample = _decoded(head, TextForm(encoding), True).encode(errors="replace")
    returns = b"\r" in sample.rstrip(b"\r") and b"\n" not in sample
    start = None
    if not (packed or encoding or returns or stored.member):
        start = len(MARK) if head.startswith(MARK) else 0
    return TextForm(encoding, returns, start)


def _decoded(head: bytes, form: TextForm, whole: bool) -> str:
    """Decode the beginning of a file, up to its last whole line."""

    data = b"".join(decoded_chunks(io.BytesIO(head), form))
    if not whole and (cut := data.rfind(b"\n") + 1):
        data = data[:cut]
    return data.decode(errors="replace")


def _format(
    stored: Stored, text: str, suffix: str, whole: bool, options: Options
) -> tuple[str, str, str]:
    """Choose the format: its name, the shape of JSON, and a note of what was found."""
    lines = [line for line in text.split("\n") if line.strip()]
    named = options.format or _BY_SUFFIX.get(suffix, "")
    named = "csv" if named == "tsv" else named
    if named in ("json", "jsonl"):
        if not options.format and lines and not any(opens_json(x) for x in lines):
            raise _contradiction(stored, suffix, by_content(lines))
        shape = "lines" if named == "jsonl" else shape_of_json(text, lines, whole)
        return ("jsonl", "", "") if shape == "lines" else ("json", shape, "")
    if options.format:
        return named, "", ""
    found = by_content(lines)
    if named == "text":
        if found in ("sst-trees", "fasttext"):
            return found, "", f"{found} by its content"
        if found == "tsv":
            tabs = usual(line.count("\t") for line in lines)
            raise InputError(
                f"{stored}: nearly all of its lines have {tabs} tab{'s'[: tabs - 1]}:"
                " a table, not one text a line; give --format tsv to read it as one, or"
                " --format text to take its lines as they are"
            )
        if found != "text" and not (found == "csv" and not names_a_text(lines)):
            raise _contradiction(stored, suffix, found)
        return "text", "", ""
    if named == "csv":
        if found in ("json", "sst-trees", "fasttext"):
            raise _contradiction(stored, suffix, found)
        return "csv", "", ""
    if named == "fasta":
        if lines and not lines[0].startswith((">", ";")):
            raise _contradiction(stored, suffix, found)
        return "fasta", "", ""
    if named in ("parquet", "arrow"):
        if found == "text":
            return named, "", ""  # whose reader says what is wrong with it
        raise _contradiction(stored, suffix, found)
    if lines and lines[0].lstrip().startswith("<"):
        raise InputError(
            f"{stored}: looks like markup (XML or HTML), which is not read; give a"
            " table or JSON, or --format text to take its lines as they are"
        )
    note = f"{found} by its content"
    if found == "json":
        shape = shape_of_json(text, lines, whole)
        return ("jsonl", "", note) if shape == "lines" else ("json", shape, note)
    return "csv" if found == "tsv" else found, "", note


def _contradiction(stored: Stored, suffix: str, found: str) -> InputError:
    return InputError(
        f"{stored}: its content does not look like {suffix} but like {found}; give "
        f"--format {found} if that is right, or the format that it is in"
    )
