"""Options that none of the sources reads are refused, and not ignored."""

from collections.abc import Sequence

from sdjax.data.formats.options import Options
from sdjax.data.parts import Dataset, File
from sdjax.errors import InputError

_OF_TABLES = ("delimiter", "quoting", "escapechar", "header")


def refuse_unread(parts: Sequence[File | Dataset], options: Options) -> None:
    """Refuse an option of how files are read that is of no file among these.

    Raises:
        InputError: names it, and what the first source is read as.
    """
    layouts = [part.layout for part in parts if isinstance(part, File)]
    has_table = any(layout.format == "csv" for layout in layouts)
    has_text = any(not (x.columnar or x.format == "stars") for x in layouts)
    read = {
        **{name: (has_table, "tables of lines, such as CSV") for name in _OF_TABLES},
        "encoding": (has_text, "files of text"),
        "format": (bool(layouts), "files"),
    }
    for name in options.as_json():
        is_read, of = read.get(name, (True, ""))
        if not is_read:
            flag = "no-header" if name == "header" else name
            known = f"read as {layouts[0].format}" if layouts else "a data set"
            raise InputError(
                f"--{flag} is of {of}, and {parts[0].keys.place} is {known}: leave it"
                " out" + (", or give --format" if layouts else "")
            )
