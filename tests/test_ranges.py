"""Numbers of users: accepted or refused by their range, which the help says."""

import argparse
import io
from contextlib import redirect_stdout

import pytest
import tiny
from fixtures_run import assert_refused

from sdjax import cli
from sdjax.arguments import ArgumentParser
from sdjax.errors import InputError
from sdjax.ranges import COUNT, FRACTION, NOT_NEGATIVE, POSITIVE, SEED, Range, number
from sdjax.training import loop

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("allowed", "inside", "outside", "said"),
    [
        (POSITIVE, (1e-9, 1, 1e30), (0, -1, NAN, INFINITE), "above 0, and finite"),
        (NOT_NEGATIVE, (0, 3.5), (-1e-9, NAN, INFINITE), "0 or above, and finite"),
        (FRACTION, (0, 0.5, 1), (-0.1, 1.1, NAN), "from 0 to 1"),
        (COUNT, (1, 2**31 - 1), (0, 2**31), "from 1 to 2,147,483,647"),
        (SEED, (0, 2**32 - 1), (-1, 2**32), "from 0 to 4,294,967,295"),
        (Range(0, 1, below=True), (0, 0.9), (1,), "from 0 to below 1"),
        (Range(0, 1, above=True), (0.1, 1), (0,), "above 0 and at most 1"),
        (Range(), (-1e30, 0), (NAN, -INFINITE), "finite"),
    ],
    ids=str,
)
def test_a_range_says_what_it_accepts(allowed, inside, outside, said):
    assert all(value in allowed for value in inside)
    assert not any(value in allowed for value in outside)
    assert str(allowed) == said


@pytest.mark.parametrize("text", ["0", "-3", "x", "1.5", "1e400", "9" * 5000])
def test_a_number_out_of_range_names_itself_and_the_range(text):
    with pytest.raises(argparse.ArgumentTypeError, match="an integer, from 1 to"):
        number(int, COUNT)(text)


def every_number():
    """Yield (command, flag, range) of each flag of each command that takes a number."""
    parser = ArgumentParser()
    commands = parser.add_subparsers()
    for name in cli.COMMANDS:
        added = commands.add_parser(name)
        cli._add(added, cli.importlib.import_module(f"sdjax.commands.{name}"))
    waiting = list(commands.choices.items())
    while waiting:
        name, found = waiting.pop()
        for action in found._actions:
            if isinstance(action, argparse._SubParsersAction):
                waiting += [(f"{name} {n}", p) for n, p in action.choices.items()]
            elif action.type in (int, float):
                yield name, action.option_strings, None
            elif getattr(action.type, "__qualname__", "").startswith("number."):
                yield name, action.option_strings, action


def test_no_command_takes_a_number_without_a_range():
    found = list(every_number())
    assert len(found) > 40
    assert [where for *where, action in found if action is None] == []


def test_no_number_is_let_in_that_is_not_finite():
    for name, flags, action in every_number():
        for text in ("nan", "inf", "-inf", "1" * 400):
            with pytest.raises(argparse.ArgumentTypeError):
                pytest.fail(f"{name} {flags} takes {text}: {action.type(text)}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("generate",), "(from 0 to 4,294,967,295; default 0)"),
        (
            ("finetune",),
            "the model's rate by the head's (0 or above, and finite; default 0.3)",
        ),
        (("probe",), "processes; -1: one per core (from -1 to 4,096; default -1)"),
    ],
    ids=str,
)
def test_the_help_says_the_range(arguments, said, monkeypatch):
    monkeypatch.setattr("sys.argv", ["sdjax", *arguments, "--help"])
    with redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit):
        cli.main()
    assert said in " ".join(out.getvalue().split())


def test_a_seed_that_no_generator_takes_is_refused(command, tmp_path):
    out = tmp_path / "corpus"
    refused = command.sdjax("prepare", "synthetic", "--out", out, "--seed", -1)
    assert_refused(refused, "--seed -1", "from 0 to 4,294,967,295")
    splits = [x for s in ("train", "valid", "test") for x in (f"--{s}", "x.npz")]
    for seed in (-1, 2**32, 2**80):
        refused = command.sdjax("probe", *splits, "--out", out, "--seed", seed)
        assert_refused(refused, "--seed", str(seed))
    assert not out.exists()


WRONG = [
    {"adam_b1": 1.0},
    {"adam_b1": 0.99999999},  # 1 in float32
    {"adam_b1": -0.1},
    {"adam_b2": 1.5},
    {"adam_b2": NAN},
    {"adam_eps": -1.0},
    {"adam_eps": 0.0},
    {"adam_eps": 1e-50},  # 0 in float32
    {"base_learning_rate": INFINITE},
    {"max_learning_rate": NAN},
    {"clip_norm": INFINITE},
    {"train_epochs": INFINITE, "train_steps": 0},
    {"train_epochs": 1e200, "train_steps": 0},
    {"train_steps": 2**40},
    {"seed": 2**64},
    {"model": {"memory_span": NAN}},
]


@pytest.mark.parametrize("changes", WRONG, ids=str)
def test_a_config_that_no_run_can_use_is_refused(changes, tiny_run, tmp_path):
    (key,) = changes.keys() - {"train_steps"} or {"train_steps"}
    config = tiny.config(tiny_run.corpus, **changes)
    with pytest.raises(InputError, match=f"config.{key}") as refused:
        loop.train(config, tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()
