"""Compare anything that sdjax wrote with what was written, and say what is not whole.

PATH is a run's folder or one checkpoint, a corpus, a features file, a classifier, a
report, a study, a published or a fine-tuned model, or what an interrupted prepare
(.CORPUS.preparing) or featurize (OUTPUT.partial), or a table (OUTPUT.parts), left. The
exit status is 2 where a part is not what was written.
"""

from pathlib import Path

from sdjax.errors import InputError
from sdjax.terminal import show


def add_arguments(parser) -> None:
    parser.add_argument("path", type=Path, metavar="PATH")


def run(arguments) -> None:
    report(arguments.path, verdict_of(arguments.path))


def report(path: Path, verdict) -> None:
    """Print what was found out.

    Raises:
        InputError: a part is not what was written.
    """
    for problem in verdict.problems[1:]:
        show(problem)
    for part in verdict.without:
        show(f"{part}: no digests, an older version of sdjax wrote it")
    if verdict.problems:
        more = len(verdict.problems) - 1
        note = f" ({more} more above)" if more else ""
        raise InputError(f"not whole: {verdict.problems[0]}{note}")
    if verdict.checked:
        show(f"{path}: whole, {verdict.checked} parts are what was written")


def verdict_of(path: Path):
    """Let the wing that writes an artefact check it.

    Raises:
        InputError: it is nothing that sdjax wrote.
    """
    from sdjax.checkpoints import names
    from sdjax.data import corpus
    from sdjax.features import partial, storage, table_work
    from sdjax.integrity import Verdict
    from sdjax.model import classifier
    from sdjax.prepare import work_folder
    from sdjax.report.verify import verify as verify_report
    from sdjax.report.write import is_report
    from sdjax.study import verify as study

    path = names.resolve(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    if path.suffix in storage.SUFFIXES and path.is_file():
        return storage.verify(path)
    if path.suffix == ".partial":
        return partial.verify(path)
    if path.suffix == table_work.SUFFIX:
        return table_work.verify(path)
    if path.suffix == ".preparing":
        return work_folder.verify(path)
    if (path / corpus.MANIFEST).exists():
        return corpus.verify(path, progress=True)
    if (path / classifier.DATA).exists():
        return classifier.verify(path)
    if study.is_study(path):
        return study.verify(path)
    verdict, known = Verdict(), False
    if is_report(path):
        verdict.add(verify_report(path))
        known = True
    if (path / "classifier").is_dir():
        verdict.add(classifier.verify(path / "classifier"))
        known = True
    if (path / "checkpoints").is_dir() or not known:
        verdict.add(_model(path))
    return verdict


def _model(path: Path):
    """Check a run, one checkpoint or a published folder; the only ones to need jax."""
    from sdjax.checkpoints import published, stored

    if published.is_published(path):
        return published.verify(path)
    return stored.verify_run(path)
