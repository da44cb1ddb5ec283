"""What some lines look like: the format, and of JSON how its objects are laid out."""

import re
from collections import Counter
from collections.abc import Iterable

from sdjax.data.formats import delimited, objects
from sdjax.data.formats.options import Options
from sdjax.errors import InputError

_NEARLY_ALL = 0.95  # of the lines
_TREE = re.compile(r"\([0-4] .*\)\s*")


def by_content(lines: list[str]) -> str:
    """Name the format that some lines look like most."""
    if not lines:
        return "text"
    first = lines[0].lstrip()
    if opens_json(first):
        return "json"
    if (
        first.startswith(">")
        and len(lines) > 1
        and re.fullmatch(r"[A-Za-z*-]+", lines[1].strip())
    ):
        return "fasta"
    if _most(lines, lambda line: bool(_TREE.fullmatch(line))):
        return "sst-trees"
    if _most(lines, lambda line: line.startswith("__label__")):
        return "fasttext"
    if len(lines) == 1:
        return "text"
    tabs = usual(line.count("\t") for line in lines)
    if tabs and _most(lines, lambda x: x.count("\t") == tabs):
        return "tsv"
    dialect, _ = delimited.find_dialect("\n".join(lines) + "\n", "", Options())
    found = delimited.sample("\n".join(lines) + "\n", dialect)
    if (
        len(found.rows) > 1
        and found.fits >= _NEARLY_ALL
        and _like_a_header(found.rows[0])
    ):
        return "tsv" if dialect.delimiter == "\t" else "csv"
    return "text"


def _like_a_header(fields: list[str]) -> bool:
    names = [field.strip() for field in fields]
    short = all(name and len(name.split()) <= 3 for name in names)
    return short and len(set(names)) == len(names)


def names_a_text(lines: list[str]) -> bool:
    """Whether the first line, divided in any way, has a name that texts have."""
    names = re.split(r'[,;|"]', lines[0].lower())
    return bool({n.strip() for n in names} & {"text", "review", "sentence", "content"})


def usual(counts: Iterable[int]) -> int:
    """Return the number that occurs most often."""
    return Counter(counts).most_common(1)[0][0]


def _most(lines: list[str], true) -> bool:
    return sum(map(true, lines)) >= _NEARLY_ALL * len(lines)


def opens_json(line: str) -> bool:
    """Whether a line begins as an object or an array of objects does."""
    return bool(re.match(r"\s*(\{\s*([\"'}]|$)|\[\s*(\{|$))", line))


def shape_of_json(text: str, lines: list[str], whole: bool) -> str:
    """Say how the objects of a JSON file are laid out."""
    start = text.lstrip()
    if start.startswith("["):
        return "array"
    first = lines[0].encode() if lines else b""
    try:
        value = objects.parse(first)
    except ValueError:
        pass  # one object over several lines, or a line that is malformed
    else:
        alone = whole and len(lines) == 1
        return _shape_of(value) if alone and isinstance(value, dict) else "lines"
    if whole:
        try:
            return _shape_of(objects.parse(text.encode()))
        except ValueError:
            pass
    # The file is longer than what is looked at, or damaged.
    if re.match(r"\{\s*\"[^\"]*\"\s*:\s*\{\s*\"0\"\s*:", start) and len(lines) < 2:
        return "columns"
    data = text.encode()
    if not _has_object(data, b"") and _has_object(data, b"{["):
        return "wrapped"
    # Objects that keep to lines end where a line does.
    return "objects" if re.match(r"\{\s*$", lines[0]) else "lines"


def _has_object(data: bytes, within: bytes) -> bool:
    """Whether an object that stands within some brackets opens and closes."""
    try:
        return next(objects.objects([data], within), None) is not None
    except InputError:
        return False


def _shape_of(value: dict) -> str:
    """Say what one object that is alone in a file is."""
    arrays = [v for v in value.values() if isinstance(v, list) and v]
    if any(isinstance(v, str) for k, v in value.items() if k in _TEXTS):
        return "objects"
    if any(isinstance(v[0], dict) for v in arrays):
        return "wrapped"
    return "columns" if objects.columns_of(value) is not None else "objects"


_TEXTS = ("text", "review", "reviewText", "sentence", "content", "body")
