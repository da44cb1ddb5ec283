"""Paths in files stay in their folder; links are replaced; nobody else may read."""

import io
import json
import os
import stat
import tarfile
import tempfile
import zipfile

import pytest
from fixtures_run import assert_refused, featurize_arguments

from sdjax import files
from sdjax.data.corpus import Corpus
from sdjax.errors import InputError
from sdjax.features import file as feature_file
from sdjax.integrity import sealed

OUTSIDE = os.path.join(tempfile.gettempdir(), "sdjax-outside.txt")
CLIMBS = ["../../outside.txt", OUTSIDE, "a/../../outside.txt"]
ROWS = b"".join(b'{"text": "number %d"}\n' % i for i in range(60))


@pytest.mark.parametrize("name", CLIMBS)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_member_of_an_archive_is_never_written(command, tmp_path, kind, name):
    inside = tmp_path / "in" / "deep"
    inside.mkdir(parents=True)
    path = inside / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, ROWS)
    else:
        with tarfile.open(path, "w") as archive:
            entry = tarfile.TarInfo(name)
            entry.size = len(ROWS)
            archive.addfile(entry, io.BytesIO(ROWS))
    before = {p for p in tmp_path.rglob("*")}
    out = tmp_path / "corpus"
    command.sdjax(
        "prepare", path, "--out", out, "--shards", "1/1/1", "--format", "json"
    )
    new = {p for p in tmp_path.rglob("*")} - before
    assert all(p.is_relative_to(out) for p in new)
    assert not os.path.exists(OUTSIDE)


def test_a_link_in_a_tar_is_not_followed(command, tmp_path):
    secret = tmp_path / "secret.jsonl"
    secret.write_bytes(ROWS)
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("in.jsonl")
        entry.type, entry.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(entry)
    refused = command.sdjax("prepare", path, "--out", tmp_path / "corpus")
    assert_refused(refused, "a.tar", "archive without any file")


@pytest.mark.parametrize("name", [*CLIMBS, "train/../../x.bin"])
def test_a_manifest_does_not_lead_out_of_its_corpus(tiny_run, tmp_path, name):
    import shutil

    shutil.copytree(tiny_run.corpus, tmp_path / "corpus")
    path = tmp_path / "corpus" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest.pop("xxh3_128")
    manifest["splits"]["valid"][0]["file"] = name
    path.write_text(json.dumps(sealed(manifest)))
    with pytest.raises(InputError, match="is not in the corpus"):
        Corpus.open(tmp_path / "corpus")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b"])
def test_a_column_does_not_lead_out_of_its_folder(tiny_run, tmp_path, name):
    made = feature_file.load(tiny_run.features["test"])
    feature_file.save(tmp_path / "x.npy", made)
    described = json.loads((tmp_path / "x.json").read_text())
    described.pop("xxh3_128")
    described["columns"].append(name)
    (tmp_path / "x.json").write_text(json.dumps(sealed(described)))
    with pytest.raises(InputError):
        feature_file.load(tmp_path / "x.npy")


def test_what_is_written_replaces_a_link_and_not_what_it_points_to(tmp_path):
    target, link = tmp_path / "precious", tmp_path / "out.csv"
    target.write_text("precious")
    link.symlink_to(target)
    with files.row_file(link) as write:
        write([{"a": 1}])
    assert target.read_text() == "precious"
    assert not link.is_symlink() and link.read_text().startswith("a")


def test_the_name_of_what_is_under_way_cannot_be_guessed(tmp_path):
    names = {files._beside(tmp_path / "x").name for _ in range(100)}
    assert len(names) == 100
    assert all(len(name) > len(".x..tmp") + 12 for name in names)


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    from sdjax.locks import locked

    (tmp_path / "lock").symlink_to(tmp_path / "made-through-a-link")
    with pytest.raises(OSError), locked(tmp_path / "lock", "in use"):
        pass
    assert not (tmp_path / "made-through-a-link").exists()


@pytest.mark.parametrize("umask", [0o077, 0o027])
def test_others_may_do_what_the_umask_says(command, tiny_run, tmp_path, umask):
    (tmp_path / "in.jsonl").write_bytes(ROWS)
    before = os.umask(umask)
    try:
        made = tmp_path / "made"
        for done in (
            command.sdjax(
                *("prepare", tmp_path / "in.jsonl", "--out", made / "corpus"),
                *("--shards", "1/1/1"),
            ),
            command.featurize(
                *featurize_arguments(tiny_run, tiny_run.texts["test"], made / "x.npz")
            ),
            command.sdjax(
                *("convert", tiny_run.workdir, "--to", "safetensors"),
                *("--out", made / "model"),
            ),
            command.sdjax(
                *("generate", tiny_run.workdir, "--length", 4),
                *("--out", made / "samples.jsonl"),
            ),
        ):
            assert done.status == 0, done.err
    finally:
        os.umask(before)
    for path in made.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & umask, path
