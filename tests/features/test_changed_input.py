"""An input that changes between two runs, or during one, never gives a mixed file."""

import os

import pytest
from fixtures_run import assert_refused

from sdjax.features import bulk
from sdjax.features.featurizer import TextFeaturizer

ROWS = [f"a line of text with the number {i:04d}" for i in range(40)]


@pytest.fixture
def featurize(tiny_run, command, tmp_path, monkeypatch):
    monkeypatch.setattr(bulk, "BLOCK_TEXTS", 500)

    def run(path, *options):
        paths = ("--input", path, "--output", tmp_path / "out.npz")
        return command.sdjax(
            "featurize", "--checkpoint", tiny_run.workdir, *paths, *options
        )

    return run


def stop_at_block(monkeypatch, number: int, then=lambda: None) -> None:
    """Interrupt featurizing before a block, counted from 1."""
    real, seen = TextFeaturizer.transform_bytes, []

    def counted(self, encoded, advance):
        seen.append(encoded)
        if len(seen) == number:
            then()
            raise KeyboardInterrupt
        return real(self, encoded, advance)

    monkeypatch.setattr(TextFeaturizer, "transform_bytes", counted)


def write(path, rows) -> None:
    path.write_text("".join(f"{row}\n" for row in rows))


@pytest.mark.parametrize("changed", [502, 1020, 1539], ids=["done", "next", "to come"])
def test_a_line_of_the_same_length_is_noticed_wherever_it_is(
    featurize, tmp_path, monkeypatch, changed
):
    path = tmp_path / "in.txt"
    write(path, ROWS * 50)  # the ends alone would not tell
    with monkeypatch.context() as patch:
        stop_at_block(patch, 3)
        assert featurize(path).status == 130
    status, other = path.stat(), list(ROWS * 50)
    other[changed] = other[changed].replace("text", "TEXT")
    write(path, other)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert_refused(featurize(path), "out.npz.partial", "content_xxh3", "--restart")
    if changed > 1500:
        assert featurize(path, "--restart").status == 0


def pairs(examples):
    return iter([(example, example.text.encode()) for example in examples])


def test_examples_without_a_file_are_compared_with_what_was_read(tiny_run, tmp_path):
    from sdjax.data.sources import Example
    from sdjax.errors import InputError
    from sdjax.features.partial import FeatureWork

    featurizer = TextFeaturizer.from_pretrained(tiny_run.workdir)
    examples = [Example(text, float(i % 2), i) for i, text in enumerate(ROWS)]
    about = {"width": featurizer.width}
    work = FeatureWork(tmp_path / "out.npz", {"input": "hf:some"}, **about)
    work.append(examples[:8], featurizer.transform(ROWS[:8]))
    for change in (
        lambda e: e._replace(text=e.text.upper()),
        lambda e: e._replace(label=0.5),
        lambda e: e._replace(row=77),
    ):
        again = FeatureWork(tmp_path / "out.npz", {"input": "hf:some"}, **about)
        other = [*examples[:3], change(examples[3]), *examples[4:]]
        with pytest.raises(InputError, match="the input has changed since"):
            again.skip_done(pairs(other))
    again = FeatureWork(tmp_path / "out.npz", {"input": "hf:some"}, **about)
    with pytest.raises(InputError, match="the input has changed since"):
        again.skip_done(pairs(examples[:7]))
    rest = pairs(examples)
    again = FeatureWork(tmp_path / "out.npz", {"input": "hf:some"}, **about)
    again.skip_done(rest)
    assert next(rest)[0] == examples[8]


def test_a_file_that_is_written_while_it_is_read_gives_no_features(
    featurize, tmp_path, monkeypatch
):
    path = tmp_path / "in.txt"
    write(path, ROWS)
    real = TextFeaturizer.transform_bytes

    def grown(self, encoded, advance):
        with open(path, "a") as file:
            file.write("one more\n")
        return real(self, encoded, advance)

    monkeypatch.setattr(TextFeaturizer, "transform_bytes", grown)
    assert_refused(featurize(path), "in.txt: was changed while it was read")
    assert not (tmp_path / "out.npz").exists()
