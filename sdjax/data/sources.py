"""The one way in: where texts come from, opened, one example at a time.

How each format is read stands in `sdjax.data.formats`; what is skipped is counted in a
`ReadReport`.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from tqdm import tqdm

from sdjax.data import formats, labels
from sdjax.data.formats import datasets
from sdjax.data.formats.compression import Stored
from sdjax.data.formats.layout import TABLES
from sdjax.data.formats.options import Options
from sdjax.data.formats.recognise import recognise
from sdjax.data.keys import (
    TEXT_KEYS,
    Keys,
    count_unlabelled,
    find_keys,
    is_id,
    keys_of,
    value_at,
)
from sdjax.data.listing import expand
from sdjax.data.parts import Dataset, File, describe_part, stamps
from sdjax.data.read_report import ReadReport
from sdjax.data.unread import refuse_unread
from sdjax.errors import InputError

_PEEK = 100  # records looked at to learn which keys a source has
_MANY = 1000  # files; of more, progress is shown


class Example(NamedTuple):
    """One review: text, label where there is one, 0-based row number, id where asked.

    Asked for several labels, `label` is a tuple of them.
    """

    text: str
    label: float | tuple[float, ...] | None
    row: int
    id: str | None = None


class Input(NamedTuple):
    """Sources that have been opened together, to be read one after the other.

    parts: each with its keys.
    text_key: as it was asked for.
    label_keys: the labels that were asked for.
    id_key: of an id that is kept; None without one.
    several: a list of labels was asked for.
    notes: what the user should see: what was recognised, the order of the classes.
    options: as they were given.
    """

    parts: tuple[File | Dataset, ...]
    text_key: str | None
    label_keys: tuple[str, ...]
    id_key: str | None
    several: bool
    notes: tuple[str, ...]
    options: Options

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes of the only label; None where labels are numbers."""
        if len(self.label_keys) != 1:
            return None
        return self.parts[0].keys.labels[0].classes or None

    @property
    def sequences(self) -> str | None:
        """The first source that holds sequences of proteins, DNA or RNA, if any."""
        return next(
            (
                part.keys.place
                for part in self.parts
                if isinstance(part, File) and part.layout.format == "fasta"
            ),
            None,
        )

    def examples(self, report: ReadReport) -> Iterator[Example]:
        """Read all of it, one example at a time, in constant memory.

        Args:
            report: counts what is read and skipped while the examples are consumed.
                The caller decides with `ReadReport.check` whether that was too much.

        Raises:
            InputError: a file is damaged.
        """
        if all(isinstance(part, File) for part in self.parts):
            report.total, report.unit = sum(p.size for p in self.parts), "B"
        first, reached = 0, 0
        for part in self.parts:
            before, row = report.read, -1
            for row, example in self._of_part(part, report):
                yield example._replace(row=first + row)
            first += max(report.read - before, row + 1)
            if isinstance(part, File):
                reached += part.size
                report.position = reached

    def _of_part(self, part, report) -> Iterator[tuple[int, Example]]:
        more = [self.id_key] if self.id_key else []
        keys = part.keys._replace(label=())
        for record in part.records(report, more):
            values = record[2]
            for row, place, text, _ in keys.pick([record], report):
                found, bad = part.keys.read_labels(values)
                given = None if self.id_key is None else value_at(values, self.id_key)
                if self.id_key is not None and not is_id(given):
                    report.skip("id missing", f"{keys.place}:{place}")
                elif bad is not None:
                    count_unlabelled(bad, f"{keys.place}:{place}", report)
                else:
                    label = found if self.several else next(iter(found), None)
                    named = None if self.id_key is None else str(given)
                    yield row, Example(text, label, row, named)

    @property
    def paths(self) -> tuple[str, ...]:
        """All files that are read."""
        return tuple(stamps(self.parts))

    def watch(self) -> Callable[[], None]:
        """Return a check, to be made at the end, that no file has changed meanwhile.

        It raises an `InputError` that names the file.
        """
        before = stamps(self.parts)

        def check() -> None:
            for path, stamp in stamps(self.parts).items():
                if before.get(path) != stamp:
                    raise InputError(
                        f"{path}: was changed while it was read, and nothing is written"
                        " of it; give the command again when nobody writes there"
                    )

        return check

    def describe(self) -> dict:
        """Describe it for a manifest, as a JSON object.

        A file is known by its name, its size and a digest of all its bytes, for which
        it is read once, so that what was made of an earlier version of the file is not
        taken for what this one gives.
        """
        described = [describe_part(part) for part in self.parts]
        whole = described[0] if len(described) == 1 else {"files": described}
        joined = list(self.label_keys) if self.several else None
        whole["text_key"] = self.text_key
        whole["label_key"] = joined or next(iter(self.label_keys), None)
        whole |= {"id_key": self.id_key} if self.id_key else {}
        if options := self.options.as_json():
            whole["options"] = options
        named = {
            key: list(how.classes)
            for key, how in zip(self.label_keys, self.parts[0].keys.labels, strict=True)
            if how.classes
        }
        if named:
            one = len(self.label_keys) == 1
            whole["classes"] = next(iter(named.values())) if one else named
        return whole


def open_input(
    sources: str | Iterable[str],
    *,
    text_key: str | None = None,
    label_key: str | Sequence[str] | None = None,
    id_key: str | None = None,
    options: Options = Options(),  # noqa: B008 (immutable)
) -> Input:
    """Find out how sources are to be read.

    Args:
        sources: paths of files or folders, patterns, `archive.zip::member`, `-` for
            standard input; or `tfds:NAME[:SPLIT]` or `hf:NAME[:SPLIT]`.
        text_key: key or column of the text, or several with commas between, which are
            joined; by default the first of `TEXT_KEYS` that a source has.
        label_key: key or column of the label; a list, or several with commas between,
            asks for as many labels of each row. Without it labels are None.
        id_key: key or column of an id, kept as a string. Without it ids are None.
        options: what the bytes of files do not tell.

    Raises:
        InputError: a source cannot be read, has no such key, or its labels have no
            order that can be told.
    """
    options.check()
    names = [sources] if isinstance(sources, str) else list(map(str, sources))
    found, notes = expand(names)
    asked = [label_key] if isinstance(label_key, str) else list(label_key or ())
    several = not isinstance(label_key, str | None)
    parts, heads, label_keys = [], [], ()
    bar = tqdm(found, "opening", disable=len(found) < _MANY, unit="file")
    for source in bar:
        part, head, label_keys, said = _open(source, text_key, asked, id_key, options)
        parts.append(part)
        heads.append(head)
        notes += said
    refuse_unread(parts, options)
    several = several or len(label_keys) > 1
    read, order = _find_labels(parts, heads, label_keys, options)
    parts = [
        part._replace(keys=part.keys._replace(label=label_keys, labels=how))
        for part, how in zip(parts, read, strict=True)
    ]
    return Input(
        tuple(parts),
        text_key,
        label_keys,
        id_key,
        several,
        (*notes, *order),
        options,
    )


def read_examples(
    source: str | Iterable[str], *, report: ReadReport, **keys
) -> Iterator[Example]:
    """Open sources and read them: `open_input` (where `keys` go) and `Input.examples`.

    Raises:
        InputError: at once for a source that cannot be read and for an unknown key,
            while reading for a damaged archive.
    """
    return open_input(source, **keys).examples(report)


def counted(
    examples: Iterable[Example], total: int, report: ReadReport
) -> Iterator[Example]:
    """Count examples that come from no file, such as the synthetic corpus."""
    report.total, report.unit = total, "examples"
    for example in examples:
        report.read += 1
        report.position += 1
        yield example


def _open(
    source: str | Stored,
    text_key: str | None,
    asked: Sequence[str],
    id_key: str | None,
    options: Options,
) -> tuple[File | Dataset, list[dict], tuple[str, ...], list[str]]:
    """Open one source: the part, its first records, the keys of its labels, notes."""
    peeked, notes, columns = ReadReport(), [], []
    if isinstance(source, str):
        name, split = datasets.name_and_split(source)
        place, kind = f"{name}/{split}", "key"
        records = datasets.dataset_records(source, peeked)
        shown = source
    else:
        wanted = (*TEXT_KEYS, *(text_key or "").split(","), text_key or "")
        layout, columns, notes = recognise(source, options, wanted)
        source, place = layout.stored, str(layout.stored)
        kind, shown = "column" if layout.format in TABLES else "key", place
        records = (
            () if layout.format == "text" else formats.file_records(layout, peeked)
        )
    head = [values for _, _, values in itertools.islice(records, _PEEK)]
    if not isinstance(source, str) and layout.format == "text":
        columns = ["text"]  # without a look: there may be many small files
    exist = list(dict.fromkeys(k for v in head for k in keys_of(v))) or columns
    text, label_keys = (TEXT_KEYS[0],), tuple(asked)
    if exist:
        text = find_keys(shown, kind, exist, "text", text_key)
        found = [find_keys(shown, kind, exist, "label", key) for key in asked]
        label_keys = tuple(itertools.chain.from_iterable(found))
        if id_key is not None:
            find_keys(shown, kind, exist, "id", id_key)
    elif text_key is not None:
        text = (text_key,)
    keys = Keys(place, text, unescape=options.unescape)
    if isinstance(source, str):
        return Dataset(source, keys), head, label_keys, notes
    return File(layout, keys), head, label_keys, notes


def _find_labels(
    parts: Sequence[File | Dataset],
    heads: Sequence[list[dict]],
    label_keys: Sequence[str],
    options: Options,
) -> tuple[list[tuple[labels.Labels, ...]], list[str]]:
    """Find out how labels are read: by part and key; and what to say of it."""
    if not label_keys:
        for name in ("classes", "label_map"):
            if getattr(options, name):
                flag = name.replace("_", "-")
                raise InputError(
                    f"--{flag} is given without --label-key; give that, too"
                )
        return [() for _ in parts], []
    by_key, notes = [], []
    for key in label_keys:
        stored = [part.class_names(key) for part in parts]
        classes, why = options.classes, "--classes"
        if not classes and options.label_map:
            classes = tuple(sorted({name for _, name in options.label_map}))
            why = "alphabetical; --classes gives another order"
        if not classes and any(stored):
            named = [
                (p.keys.place, names) for p, names in zip(parts, stored, strict=True)
            ]
            classes, why = labels.same_names(named), "as the source names them"
        values = [value_at(v, key) for head in heads for v in head]
        if not classes and labels.are_words(values):
            every = (
                value_at(values, key)
                for part in parts
                for _, _, values in part.records(ReadReport(), [key])
            )
            words = labels.distinct_words(every, f"{parts[0].keys.place}: '{key}'")
            classes = tuple(sorted(words))
            why = "alphabetical; --classes gives another order"
        by_key.append([labels.Labels(classes, s, options.label_map) for s in stored])
        if classes:
            shown = ", ".join(f"{i} {name}" for i, name in enumerate(classes))
            notes.append(f"classes of '{key}': {shown} ({why})")
    return list(zip(*by_key, strict=True)), notes
