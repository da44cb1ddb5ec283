"""`sdjax corpus show`: its numbers agree with an independent count."""

import json
from collections import Counter

import pytest
from fixtures_corpus import make
from fixtures_run import assert_refused

from sdjax.data.sources import Example


@pytest.fixture
def shown(tmp_path, command):
    """Make a corpus with two review lengths, duplicates and one bad row."""
    texts = [f"{i:03d}" + "e" * (37 if i % 4 else 7) for i in range(200)]
    examples = [Example(text, None, i) for i, text in enumerate(texts)]
    examples += [*examples[:20], Example("&nbsp;", None, 220)]
    folder = make(tmp_path / "c", examples, shards=(3, 1, 1)).folder
    return folder, lambda *options: command.sdjax("corpus", "show", folder, *options)


def table(lines: list[str], title: str) -> dict[str, list[str]]:
    """Return the rows of the table whose header begins with `title`, by first cell."""
    (begin,) = (i for i, line in enumerate(lines) if line.startswith(f"| {title}"))
    cells = ([c.strip() for c in x.split("|")[1:-1]] for x in lines[begin + 2 :][:3])
    return {row[0]: row[1:] for row in cells}


def test_counts_lengths_and_bytes(shown):
    folder, show = shown
    done = show("--verify")
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert "rows read            221" in lines
    assert "rows refused         1" in lines
    assert any("1  empty text (first: examples:220)" in line for line in lines)
    assert "duplicates removed   20" in lines
    assert "split                shuffled, seed 0" in lines
    # The manifest, and of each shard its bytes and its index.
    shard_count = sum(map(len, manifest["splits"].values()))
    assert lines[0].startswith(f"{folder}: whole, {1 + 2 * shard_count} parts")
    counts, shares = table(lines, "split"), table(lines, "bytes that")
    for split, shards in manifest["splits"].items():
        data = b"".join((folder / s["file"]).read_bytes() for s in shards)
        lengths = sorted(3 + len(r) for r in data.decode().split("\n ")[1:])
        lengths = [n - 1 for n in lengths]  # the first two bytes were split at
        assert counts[split][:3] == [
            str(len(shards)),
            f"{len(lengths)}",
            f"{len(data):,}",
        ]
        assert counts[split][3:] == [f"{len(data) / len(lengths):,.1f}", "43"]
        assert set(shares[split]) == {"13", "43"}
        (byte, often), *_ = Counter(data).most_common(1)
        assert chr(byte) == "e"
        assert any(
            line.split()[:3] == [split, "e", f"{often / len(data):.1%}"]
            for line in lines
        )


def test_the_figure(shown, tmp_path):
    _, show = shown
    path = tmp_path / "lengths.png"
    done = show("--figure", path)
    assert done.status == 0, done.err
    assert path.read_bytes().startswith(b"\x89PNG")
    assert done.out.endswith(f"figure: {path}\n")


def test_bad_input_is_refused(shown, tmp_path, command):
    folder, show = shown
    assert_refused(show("--figure", tmp_path / "a.pdf"), "a.pdf", ".png")
    refused = show("--figure", tmp_path / "none" / "a.png")
    assert_refused(refused, "none/a.png", status=1)
    assert_refused(command.sdjax("corpus", "show", tmp_path), "no manifest.json")
    assert_refused(command.sdjax("corpus"), "ACTION")
    index = folder / "train" / "00001.offsets.npy"
    index.write_bytes(index.read_bytes()[:-1] + b"?")
    assert_refused(show("--verify"), str(index), "damaged")
