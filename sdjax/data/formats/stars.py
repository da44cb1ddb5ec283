"""The layout of aclImdb: a folder with `pos` and `neg`, a file for each review.

Its name is the number of the review and the stars that it gave: `pos/12_8.txt`.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sdjax.data.formats import archives
from sdjax.data.formats import lines as line_files
from sdjax.data.formats.layout import Layout, NoLabel, Record, bad_bytes
from sdjax.data.read_report import ReadReport

CLASSES = ("neg", "pos")
_WITHOUT = "unsup"  # the folder of the reviews without a label
_NAME = re.compile(r"\d+_(\d+)\.txt")


def is_stars(folder: Path) -> bool:
    """Tell whether a folder has this layout."""
    return all((folder / name).is_dir() for name in CLASSES)


def are_stars(names: list[str], prefix: str) -> bool:
    """Tell whether some names of an archive have this layout below a folder."""
    found = {PurePosixPath(n).parent.name for n in names if n.startswith(prefix)}
    parents = {str(PurePosixPath(n).parent) for n in names}
    below = {f"{prefix.strip('/')}/{name}".lstrip("/") for name in CLASSES}
    return below <= {p.removeprefix("./") for p in parents} and found >= set(CLASSES)


def star_files(folder: Path) -> list[Path]:
    """List the reviews below a folder, by their names."""
    found = []
    for name in (*CLASSES, _WITHOUT):
        if (folder / name).is_dir():
            with os.scandir(folder / name) as entries:
                found += [e.path for e in entries if e.name.endswith(".txt")]
    return [Path(path) for path in sorted(found)]


def star_records(layout: Layout, report: ReadReport) -> Iterator[Record]:
    """Read every file as one review: text, label, stars, and its name as id."""
    stored = layout.stored
    for row, (name, data) in enumerate(_contents(layout)):
        report.read += 1
        if not stored.member:
            report.position += len(data)
        place = f"{stored}/{name}"
        if len(data) > line_files.MAX_LINE_BYTES:
            report.skip("file longer than 64 MiB", place)
            continue
        try:
            text = data.decode(layout.form.encoding or "utf-8-sig")
        except UnicodeDecodeError:
            reason, detail = bad_bytes(data, layout.form)
            report.skip(reason, place, detail=detail)
            continue
        path = PurePosixPath(name)
        stars = _NAME.fullmatch(path.name)
        values = {"text": text, "id": f"{path.parent.name}/{path.stem}"}
        values["stars"] = int(stars[1]) if stars and int(stars[1]) else None
        if path.parent.name in CLASSES:
            values["label"] = CLASSES.index(path.parent.name)
        else:
            values["label"] = values["stars"] = NoLabel(
                f"in {_WITHOUT}, without a label"
            )
        yield row, row + 1, values


def _contents(layout: Layout) -> Iterator[tuple[str, bytes]]:
    stored, most = layout.stored, line_files.MAX_LINE_BYTES
    if stored.member:
        prefix = len(stored.member.strip("/")) + 1
        for name, data in archives.walk(stored, most):
            name = name.removeprefix("./")[prefix:]
            if PurePosixPath(name).parent.name in (*CLASSES, _WITHOUT):
                if name.endswith(".txt"):
                    yield name, data
        return
    for path in star_files(stored.path):
        with path.open("rb") as file:
            yield str(path.relative_to(stored.path)), file.read(most + 1)
