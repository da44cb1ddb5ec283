"""Nothing from a file or a name is obeyed by a terminal, whatever it is part of."""

import ast
import csv
import json
import shutil
import unicodedata
from pathlib import Path

import pytest

import sdjax
from sdjax.integrity import sealed
from sdjax.terminal import printable, show, show_lines

# Clears the screen, renames the window, turns the direction of writing.
EVIL = "\x1b[2J\x1b]0;title\x07\x9b31m\u202egnp.exe\u2066\u200f\r\b\x00"
PACKAGE = Path(sdjax.__file__).parent


def obeyed(text: str) -> list[str]:
    """Return the characters of an output that a terminal would not just show."""
    directions = {"\u061c", "\u200e", "\u200f"} | set(map(chr, range(0x202A, 0x202F)))
    directions |= set(map(chr, range(0x2066, 0x206A)))
    return [
        c
        for c in text.replace("\n", "")
        if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in directions
    ]


def assert_harmless(*results) -> None:
    for result in results:
        text = result.out + "\n".join(
            # Progress bars move within their line.
            line.rpartition("\r")[2]
            for line in result.err.split("\n")
        )
        assert obeyed(text) == [], text


def test_what_is_obeyed_is_replaced_and_the_rest_stays():
    assert obeyed(printable(EVIL)) == [] and len(printable(EVIL)) == len(EVIL)
    kept = "caf\u00e9 \u6620\u753b \U0001f468\u200d\U0001f469 \u0627\u0644"
    assert printable(kept) == kept  # a joiner of emoji, letters from right to left


def test_one_line_stays_one_line(capsys):
    show("a name\nerror: forged")
    show_lines("head\na\x1b[1mb")
    out = capsys.readouterr().out
    assert out == "a name error: forged\nhead\na\ufffd[1mb\n"


def test_everything_that_is_printed_goes_that_way():
    """Only colours of our own, round printable characters, are printed as they are."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(getattr(node, "func", None), "id", None)
            writes = getattr(getattr(node, "func", None), "attr", None) == "write"
            stream = writes and "sys.std" in ast.unparse(node.func)
            if name == "print" or stream:
                found.append(path.relative_to(PACKAGE).as_posix())
    assert sorted(found) == ["commands/classify.py", "terminal.py"]


@pytest.mark.parametrize("kind", ["json", "csv", "name"])
def test_keys_headers_and_names_of_files(command, tmp_path, kind):
    name = f"in{EVIL}".replace("\x00", "") if kind == "name" else "in"
    path = tmp_path / f"{name}.{'csv' if kind == 'csv' else 'jsonl'}"
    if kind == "csv":
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([[EVIL.replace("\x00", ""), "b"], ["x", "y"]])
    else:
        path.write_text(json.dumps({EVIL: "text", "b": 1}) + "\n")
    out = tmp_path / "corpus"
    refused = command.sdjax("prepare", path, "--out", out)
    assert refused.status == 2 and "that exist" in refused.err
    assert_harmless(
        refused, command.sdjax("prepare", path, "--out", out, "--text-key", EVIL)
    )


def test_words_that_are_labels(command, tmp_path):
    path = tmp_path / "in.csv"
    with open(path, "w", newline="") as file:
        rows = [[f"text {i}", f"{EVIL[:-1]}{i % 2}"] for i in range(60)]
        csv.writer(file).writerows([["text", "y"], *rows])
    out = tmp_path / "corpus"
    done = command.sdjax(
        *("prepare", path, "--out", out, "--label-key", "y", "--shards", "1/1/1")
    )
    assert done.status == 0 and "0 " in done.err
    assert_harmless(done, command.sdjax("corpus", "show", out))


def test_a_manifest_from_anybody(command, tiny_run, tmp_path):
    corpus = tmp_path / "corpus"
    shutil.copytree(tiny_run.corpus, corpus)
    path = corpus / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["request"]["source"]["name"] = EVIL
    manifest.pop("xxh3_128")
    path.write_text(json.dumps(sealed(manifest)))
    assert_harmless(command.sdjax("corpus", "show", corpus))
    again = command.sdjax("prepare", "synthetic", "--out", corpus)
    assert again.status == 2
    assert_harmless(again)


def test_names_of_folders(command, tiny_run, tmp_path):
    run = tmp_path / "run\x1b[2J\u202egnp"
    shutil.copytree(tiny_run.workdir, run)
    figure = tmp_path / "c.png"
    compared = command.sdjax("figures", "compare", run, run, "--out", figure)
    assert compared.status == 0, compared.err
    shown = command.sdjax("evaluate", run, "--corpus", tiny_run.corpus)
    missing = command.sdjax("verify", tmp_path / EVIL[:-1])
    assert_harmless(compared, shown, missing)


def test_texts_and_classes_of_a_classifier(command, tiny_run, tmp_path):
    import dataclasses

    import numpy as np

    from sdjax.features.featurizer import TextFeaturizer
    from sdjax.model.classifier import Classifier

    featurizer = TextFeaturizer.from_pretrained(tiny_run.workdir)
    quantiles = {
        side: {q: float(i) for i, q in enumerate(("0.05", "0.50", "0.95"))}
        for side in ("no", EVIL)
    }
    top = {"index": 1, "sign": 1, "threshold": 0.0, "quantiles": quantiles}
    top["classes"] = ["no", EVIL]
    made = Classifier(
        *("binary", ("no", EVIL), np.ones((1, featurizer.width)), np.zeros(1)),
        np.array([0.5]),
        metadata=featurizer.metadata() | {"top_unit": top},
    )
    made.save(tmp_path / "made")
    plain = command.sdjax("classify", tmp_path / "made", f"good {EVIL[:-1]}")
    explained = command.sdjax(
        *("classify", tmp_path / "made", f"good {EVIL[:-1]}", "--explain"),
        *("--color", "never"),
    )
    samples = ("--samples", 2, "--length", 9, "--prefix", EVIL[:-1])
    held = ("--classifier", tmp_path / "made", "--contrast")
    written = command.sdjax("generate", tiny_run.workdir, *samples)
    pairs = command.sdjax("generate", tiny_run.workdir, *samples, *held)
    for result in (plain, explained, written, pairs):
        assert result.status == 0, result.err
    assert_harmless(plain, explained, written, pairs)
    assert dataclasses.asdict(Classifier.load(tmp_path / "made"))["classes"][1] == EVIL
