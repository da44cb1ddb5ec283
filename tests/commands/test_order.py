"""Flags and texts in any order; a command within a command comes first."""

import numpy as np
import pytest
from fixtures_run import assert_refused

from sdjax import cli
from sdjax.features.featurizer import TextFeaturizer
from sdjax.model.classifier import Classifier


@pytest.fixture(scope="module")
def folder(tiny_run, tmp_path_factory):
    featurizer = TextFeaturizer.from_pretrained(tiny_run.workdir)
    made = Classifier(
        *("binary", ("no", "yes"), np.ones((1, featurizer.width)), np.zeros(1)),
        np.array([0.5]),
        metadata=featurizer.metadata(),
    )
    path = tmp_path_factory.mktemp("order") / "made"
    made.save(path)
    return path


def test_texts_stand_before_flags_between_and_after(command, folder):
    texts, flags = ("Good.", "Bad, and more."), ("--color", "never", "--batch-size", 2)
    orders = [
        (folder, *texts, *flags),
        (folder, *flags, *texts),
        (*flags, folder, *texts),
        (folder, texts[0], *flags, texts[1]),
        (folder, *flags, "--", *texts),
    ]
    outs = []
    for order in orders:
        done = command.sdjax("classify", *order)
        assert done.status == 0, done.err
        outs.append(done.out)
    assert set(outs) == {outs[0]} and "Bad, and more." in outs[0]


def test_files_of_prepare_too(command, tmp_path):
    rows = "".join(f'{{"text": "number {i}"}}\n' for i in range(60))
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text(rows.replace("number", name))
    flags = ("--shards", "1/1/1", "--out", tmp_path / "corpus")
    done = command.sdjax("prepare", tmp_path / "a.jsonl", *flags, tmp_path / "b.jsonl")
    assert done.status == 0 and "read 120" in done.out, done.err


def test_what_is_unknown_is_named_and_help_is_the_commands_own(command, folder):
    refused = command.sdjax("classify", folder, "Good.", "--explained")
    assert_refused(refused, "unrecognized arguments: --explained", "sdjax classify")
    assert_refused(command.sdjax("classfy", folder), "invalid choice: 'classfy'")
    assert_refused(command.sdjax(), "COMMAND")
    for name in cli.COMMANDS:
        shown = command.sdjax(name, "--help")
        assert shown.status == 0 and f"usage: sdjax {name}" in shown.out
    assert all(name in command.sdjax("--help").out for name in cli.COMMANDS)


def test_commands_within_a_command_take_their_flags(command, tiny_run):
    shown = command.sdjax("corpus", "show", tiny_run.corpus, "--verify")
    assert shown.status == 0, shown.err
    assert command.sdjax("corpus", "show", "--verify", tiny_run.corpus).status == 0
    assert_refused(command.sdjax("corpus", "shew"), "shew")
