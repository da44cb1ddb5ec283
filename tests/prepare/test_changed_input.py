"""What was prepared of one version of a file is not taken for another version."""

import json
import os

import pytest
from fixtures_run import assert_refused

from sdjax.data.parts import comparable
from sdjax.integrity import sealed
from sdjax.prepare import pipeline

# Longer than what the two ends of a file would tell.
LINES = [f'{{"text": "review number {i:05d} of a great many"}}\n' for i in range(6000)]


@pytest.fixture
def prepare(command, tmp_path):
    def run(*sources):
        out = ("--out", tmp_path / "corpus", "--shards", "2/1/1")
        return command.sdjax("prepare", *sources, *out)

    return run


def changed_in_the_middle(path) -> None:
    """Change one byte; size, both ends and modification time stay."""
    status, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] = ord("x") if data[len(data) // 2] != ord("x") else ord("y")
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_finished_corpus_is_not_that_of_a_changed_file(prepare, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("".join(LINES))
    assert prepare(path).status == 0
    assert "already prepared" in prepare(path).err
    path.touch()
    assert "already prepared" in prepare(path).err  # what is in it decides
    changed_in_the_middle(path)
    assert_refused(prepare(path), "already holds another corpus", "content_xxh3")


def test_of_several_files_each_counts(prepare, tmp_path):
    paths = [tmp_path / f"{name}.jsonl" for name in "ab"]
    paths[0].write_text("".join(LINES[:3000]))
    paths[1].write_text("".join(LINES[3000:]))
    assert prepare(*paths).status == 0
    changed_in_the_middle(paths[1])
    assert_refused(prepare(*paths), "already holds another corpus")


def test_a_corpus_of_an_older_version_still_counts_as_prepared(prepare, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("".join(LINES[:400]))
    assert prepare(path).status == 0
    stored = tmp_path / "corpus" / "manifest.json"
    manifest = json.loads(stored.read_text())
    manifest.pop("xxh3_128")
    del manifest["request"]["source"]["content_xxh3"]
    stored.write_text(json.dumps(sealed(manifest)))
    assert "already prepared" in prepare(path).err


def test_what_an_older_version_did_not_note_is_not_compared():
    new = {"name": "a", "content_xxh3": "1"}
    assert comparable(new, {"name": "a"}) == {"name": "a"}
    assert comparable(new, {"name": "a", "content_xxh3": "2"}) == new
    assert comparable({"files": [new, new]}, {"files": [{"name": "a"}]}) == {
        "files": [{"name": "a"}, new]
    }


def test_a_file_that_is_written_while_it_is_read_gives_no_corpus(
    prepare, tmp_path, monkeypatch
):
    path = tmp_path / "in.jsonl"
    path.write_text("".join(LINES[:400]))
    real = pipeline._write_shards

    def late(*arguments):
        with open(path, "a") as file:
            file.write(LINES[-1])
        return real(*arguments)

    monkeypatch.setattr(pipeline, "_write_shards", late)
    assert_refused(prepare(path), "in.jsonl: was changed while it was read")
    assert not (tmp_path / "corpus").exists()
    assert not (tmp_path / ".corpus.preparing").exists()
