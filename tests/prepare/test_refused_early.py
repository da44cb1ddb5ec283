"""What cannot become a corpus is refused before the work, not after it."""

import pytest
from fixtures_run import assert_refused

from sdjax.prepare import pipeline


@pytest.fixture
def four(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f'{{"text": "number {i}"}}\n' for i in range(4)))
    return path


def test_far_more_shards_than_reviews(command, four, tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("shards are begun")

    monkeypatch.setattr(pipeline, "_write_shards", never)
    out = ("--out", tmp_path / "corpus")
    refused = command.sdjax("prepare", four, *out, "--shards", "9000/1/1")
    assert_refused(refused, "4 different reviews are too few", "9,002 shards")
    refused = command.sdjax("prepare", four, *out, "--shards", "10000000/1/1")
    assert_refused(refused, "at most 1,000,000 in all")
    assert not list(tmp_path.glob("*corpus*"))


@pytest.mark.parametrize("split", ["shuffled", "contiguous"])
def test_as_many_shards_as_reviews_can_be(command, four, tmp_path, split):
    shards = ("--shards", "1/1/1", "--split", split, "--out", tmp_path / "corpus")
    done = command.sdjax("prepare", four, *shards)
    assert done.status == 0 or "leave" in done.err or "too few" in done.err


def test_a_link_to_nothing_as_the_place_to_write(command, four, tmp_path, tiny_run):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    refused = command.sdjax("prepare", four, "--out", link, "--shards", "1/1/1")
    assert_refused(refused, f"{link}: is a symbolic link to nothing")
    assert not list(tmp_path.glob(".link*"))
    to = ("--to", "safetensors", "--out", link)
    assert_refused(command.sdjax("convert", tiny_run.workdir, *to), "exists already")
    splits = [x for s, p in tiny_run.features.items() for x in (f"--{s}", p)]
    refused = command.sdjax("probe", *splits, "--out", link)
    assert refused.status in (1, 2) and "fits" not in refused.err
    assert link.is_symlink() and not (tmp_path / "nowhere").exists()
