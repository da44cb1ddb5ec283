"""The flags that say how texts are read: the same in every command that reads them."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sdjax.data.formats.options import FORMATS, QUOTINGS, Options
from sdjax.errors import InputError, UnreadableText
from sdjax.files import refuse_special
from sdjax.terminal import show

if TYPE_CHECKING:
    from sdjax.data.corpus import Corpus
    from sdjax.data.sources import Example, Input


def add_reading(
    parser: argparse.ArgumentParser,
    *,
    label_by_blanks: bool = False,
    label_required: bool = False,
) -> None:
    """Add the flags.

    Args:
        parser: of a command.
        label_by_blanks: let `--label-key` take several values with blanks between.
        label_required: refuse a command line without `--label-key`.
    """
    add = parser.add_argument
    add(
        "--text-key",
        metavar="KEY[,KEY...]",
        help="column or key of the text; several are joined; a.text: text within a",
    )
    add(
        "--label-key",
        metavar="KEY[,KEY...]",
        nargs="+" if label_by_blanks else None,
        required=label_required,
        help="column or key of the label, a number or a word; or of several labels",
    )
    group = parser.add_argument_group("how files are read, where they do not tell it")
    add = group.add_argument
    add("--format", default="", metavar="NAME", help=", ".join(FORMATS))
    add(
        "--encoding",
        default="",
        metavar="NAME",
        help="as cp1252 or latin-1; UTF-8, and UTF-16 with its mark, need none",
    )
    add("--delimiter", default="", metavar="C", type=_character, help="of a table")
    add(
        "--quoting",
        default="auto",
        choices=QUOTINGS,
        help="none: quotes in a table mean nothing",
    )
    add(
        "--escapechar",
        default="",
        metavar="C",
        type=_character,
        help="what escapes quotes within quotes, as \\",
    )
    add(
        "--no-header",
        action="store_true",
        help="of a table: its columns are called 0, 1, 2",
    )
    add(
        "--unescape",
        action="store_true",
        help='decode \\n and \\" that are written out in texts',
    )
    add("--classes", metavar="A,B", help="names of the classes, in their order")
    add(
        "--label-map",
        action="append",
        default=[],
        metavar="1,2=NAME",
        help="makes labels a class; may be given again; other labels are left out",
    )


def options_of(arguments: argparse.Namespace) -> Options:
    """Return what the flags say.

    Raises:
        InputError: a value that no file can be read with.
    """
    options = Options(
        format=arguments.format,
        encoding=arguments.encoding,
        delimiter=arguments.delimiter,
        quoting=arguments.quoting,
        escapechar=arguments.escapechar,
        header=not arguments.no_header,
        unescape=arguments.unescape,
        classes=_names(arguments.classes),
        label_map=tuple(_pairs(arguments.label_map)),
    )
    options.check()
    return options


def open_texts(
    arguments: argparse.Namespace,
    sources: str | Sequence[str],
    *,
    id_key: str | None = None,
    writes: Iterable[Path | None] = (),
) -> "Input":
    """Open what a command is to read, by its flags; say what was found out about it.

    Args:
        writes: files that the command will write, which may not be among these.

    Raises:
        InputError: as `open_input`; or an input would be overwritten.
    """
    from sdjax.data.sources import open_input

    label_key = arguments.label_key
    if isinstance(label_key, list) and len(label_key) == 1:
        label_key = label_key[0]
    opened = open_input(
        sources,
        text_key=arguments.text_key,
        label_key=label_key,
        id_key=id_key,
        options=options_of(arguments),
    )
    for path in filter(None, writes):
        refuse_special(path)
        if path.exists() and any(path.samefile(there) for there in opened.paths):
            raise InputError(
                f"{path} is an input, which it would replace; give another"
            )
    for note in opened.notes:
        show(note, file=sys.stderr)
    return opened


def open_labelled(arguments: argparse.Namespace, sources, **options) -> "Input":
    """Open texts that have one label or none; all else is as of `open_texts`.

    Raises:
        InputError: several labels are asked for.
    """
    opened = open_texts(arguments, sources, **options)
    if opened.several:
        raise InputError(f"--label-key {arguments.label_key}: name one label")
    return opened


def readable(
    examples: "Iterable[Example]", normalisation, report
) -> "Iterator[Example]":
    """Yield what a model's codec can read; count the rest in a `ReadReport`."""
    for example in examples:
        try:
            normalisation.encode(example.text)
        except UnreadableText as error:
            report.skip(error.reason, f"row {example.row}", detail=str(error))
            continue
        yield example


def labels_of_corpus(
    arguments: argparse.Namespace, corpus: "Corpus"
) -> tuple[str, ...] | None:
    """Return which labels of a corpus `--label-key` asks for; None if it is not given.

    Raises:
        InputError: the corpus has no such label; it names those that it has.
    """
    given = arguments.label_key
    if given is None:
        return None
    given = given if isinstance(given, list) else [given]
    keys = [
        part
        for key in given
        for part in ([key] if key in corpus.label_keys else key.split(","))
    ]
    for key in keys:
        if key not in corpus.label_keys:
            has = ", ".join(corpus.label_keys) or "none"
            raise InputError(
                f"--label-key {key}: the labels that the corpus {corpus.folder} keeps:"
                f" {has}; name one of them, or prepare it again with that --label-key"
            )
    return tuple(keys)


def refuse_reading(
    arguments: argparse.Namespace, why: str, besides: Iterable[str] = ()
) -> None:
    """Refuse flags of `add_reading` where nothing would read them.

    Args:
        why: nothing reads them.
        besides: names of those that something does read.

    Raises:
        InputError: names the first one that is given.
    """
    given = {"text_key": arguments.text_key, "label_key": arguments.label_key}
    given |= options_of(arguments).as_json()
    for name, value in given.items():
        if value is not None and name not in besides:
            flag = "no-header" if name == "header" else name.replace("_", "-")
            raise InputError(f"--{flag}: {why}; leave it out")


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _pairs(maps: Sequence[str]):
    for text in maps:
        labels, equals, name = text.rpartition("=")
        if not (equals and labels and name):
            raise InputError(f"--label-map {text}: write it as 1,2=neg")
        yield from ((label.strip(), name.strip()) for label in labels.split(","))


def _character(text: str) -> str:
    """Read one character, a tab also as the two characters that stand for it."""
    return {"\\t": "\t", "tab": "\t", "\\\\": "\\"}.get(text, text)
