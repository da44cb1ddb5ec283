"""`sdjax verify`: one word for whatever sdjax wrote."""

import shutil

import pytest
from fixtures_run import assert_refused
from older import without_digests

from sdjax.checkpoints.load import checkpoint_steps


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_is_whole(tiny_run, command):
    step = checkpoint_steps(tiny_run.workdir)[-1]
    paths = [tiny_run.corpus, tiny_run.workdir, step, tiny_run.features["train"]]
    for path in paths:
        done = command.sdjax("verify", path)
        assert done.status == 0, done.err
        assert done.out.startswith(f"{path}: whole, "), done.out


def test_every_damaged_part_is_named(tiny_run, tmp_path, command):
    corpus = shutil.copytree(tiny_run.corpus, tmp_path / "corpus")
    flip(corpus / "train" / "00000.bin")
    flip(corpus / "valid" / "00000.offsets.npy")
    done = command.sdjax("verify", corpus)
    assert_refused(done, "not whole", "train/00000.bin: damaged", "1 more above")
    assert "valid/00000.offsets.npy: damaged" in done.out


def test_one_damaged_checkpoint_of_a_run(tiny_run, tmp_path, command):
    run = shutil.copytree(tiny_run.workdir, tmp_path / "run")
    first, *_ = checkpoint_steps(run)
    flip(first / "meta" / "metadata")
    assert_refused(command.sdjax("verify", run), f"{first}")


def test_what_an_older_version_wrote_has_no_digests(tiny_run, tmp_path, command):
    run = shutil.copytree(tiny_run.workdir, tmp_path / "run")
    for step in checkpoint_steps(run):
        without_digests(step / "meta" / "metadata")
    done = command.sdjax("verify", run)
    assert done.status == 0 and "whole" not in done.out
    assert done.out.count("no digests, an older version") == len(checkpoint_steps(run))


@pytest.mark.parametrize("name", ["nowhere", "folder", "a.partial", ".a.preparing"])
def test_what_sdjax_did_not_write_is_refused(tmp_path, command, name):
    if name != "nowhere":
        (tmp_path / name).mkdir()
    assert_refused(command.sdjax("verify", tmp_path / name), name)


def test_a_report_is_checked_whole(tiny_run, tmp_path, command):
    files = [
        x for split, path in tiny_run.features.items() for x in (f"--{split}", path)
    ]
    options = ("--draws", 0, "--one-checkpoint", "--workers", 1)
    out = tmp_path / "report"
    assert command.sdjax("probe", *files, *options, "--out", out).status == 0
    assert command.sdjax("verify", out).out.startswith(f"{out}: whole, ")
    page = (out / "report.html").read_bytes()
    (out / "report.html").write_bytes(page + b" ")
    assert_refused(command.sdjax("verify", out), "report.html: damaged")
    (out / "report.html").unlink()
    assert_refused(command.sdjax("verify", out), "report.html: is missing")
    (out / "report.html").write_bytes(page)
    data = (out / "report.json").read_text()
    (out / "report.json").write_text(data.replace('"format"', '"form"'))
    assert_refused(command.sdjax("verify", out), "report.json")
    (out / "report.json").unlink()
    assert_refused(command.sdjax("verify", out), "report.json: is missing")
