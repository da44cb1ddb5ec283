"""What a user may say about the files that are read: one name for every flag."""

from typing import NamedTuple

from sdjax.errors import InputError

# What --format takes. "json" finds out by itself how the objects are laid out.
FORMATS = (
    *("text", "csv", "tsv", "json", "jsonl", "parquet", "arrow"),
    *("fasta", "fasttext", "sst-trees", "sst-phrases"),
)
QUOTINGS = ("auto", "csv", "none")


class Options(NamedTuple):
    """How files are to be read, where their bytes do not tell it.

    Args:
        format: one of `FORMATS`; "" goes by the name and the content.
        encoding: a codec of Python; "" is UTF-8, or UTF-16 where a byte order mark says
            so.
        delimiter: one character; "" goes by the header and the first rows.
        quoting: "csv", "none" (quotes mean nothing), or "auto" by the first rows.
        escapechar: what stands before a quote within quotes; "" for doubled quotes.
        header: whether the first row of a table names its columns; else they are called
            0, 1, 2.
        unescape: decode `\\n`, `\\t`, `\\"` and `\\\\` that are written out in texts.
        classes: names of the classes in their order; () for alphabetical order.
        label_map: pairs of a label as it is in the file and its class; others are left
            out.

    Raises:
        InputError: by `check`.
    """

    format: str = ""
    encoding: str = ""
    delimiter: str = ""
    quoting: str = "auto"
    escapechar: str = ""
    header: bool = True
    unescape: bool = False
    classes: tuple[str, ...] = ()
    label_map: tuple[tuple[str, str], ...] = ()

    def check(self) -> None:
        """Refuse values that no file can be read with."""
        if self.format and self.format not in FORMATS:
            raise InputError(
                f"--format {self.format}: no such format; use {', '.join(FORMATS)}"
            )
        if self.quoting not in QUOTINGS:
            raise InputError(f"--quoting {self.quoting}: use {', '.join(QUOTINGS)}")
        for name in ("delimiter", "escapechar"):
            value = getattr(self, name)
            if value and (len(value) != 1 or value in '"\r\n'):
                raise InputError(
                    f"--{name} {value!r}: give one character, such as ';' or '\\t'"
                )
        if self.encoding:
            try:
                "".encode(self.encoding)
            except LookupError as error:
                raise InputError(
                    f"--encoding {self.encoding}: Python knows no such encoding; use "
                    "for example cp1252, latin-1 or utf-16-le"
                ) from error
        twice = [c for c in self.classes if self.classes.count(c) > 1]
        if twice:
            raise InputError(f"--classes names {twice[0]!r} twice")
        unknown = [
            c for _, c in self.label_map if self.classes and c not in self.classes
        ]
        if unknown:
            raise InputError(
                f"--label-map makes the class {unknown[0]!r}, which is not one of "
                f"--classes {','.join(self.classes)}"
            )

    def as_json(self) -> dict:
        """Return the options that are not at their default, as a JSON object."""
        ever = Options()
        return {
            key: list(map(list, value)) if key == "label_map" else value
            for key, value in self._asdict().items()
            if value != getattr(ever, key)
        }
