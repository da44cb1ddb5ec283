"""What no training run can use is refused in one line, before anything is written."""

import pytest
import tiny
from fixtures_run import ROOT, in_a_process

from sdjax import cli
from sdjax.errors import InputError
from sdjax.training import loop


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tiny.corpus(tmp_path_factory.mktemp("refusals") / "corpus")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"precision": "fp8"}, "'fp8' does not exist"),
        ({"model": {"cell": "gru"}}, "'gru', expected one of"),
        ({"model": {"hidden_size": 0}}, "hidden_size"),
        ({"model": {"embedding_size": -1}}, "embedding_size"),
        ({"global_batch_size": 12}, "12 cannot be spread over 8 devices"),
        ({"global_batch_size": 80_000}, "too few for a batch of 80000 rows"),
        ({"eval_batch_size": 80_000}, "too few for a batch of 80000 rows"),
        ({"window_size": 0}, "window_size"),
        ({"log_every_steps": 0}, "log_every_steps"),
        ({"train_steps": -1}, "train_steps"),
        ({"train_epochs": 0.0}, "train_epochs"),
        ({"warmup_steps": -1}, "warmup_steps"),
        ({"warmup_steps": 12}, "warmup_steps"),
        ({"seed": -1}, "seed"),
        ({"loss_scale": {"kind": "gentle"}}, "'gentle' does not exist"),
        ({"loss_scale": {"floor": 0.0}}, "floor of 0.0"),
        ({"loss_scale": {"growth_interval": 0}}, "growth_interval 0"),
        ({"max_overflows": 0}, "max_overflows"),
        ({"corpus": "nowhere"}, "nowhere"),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused_in_one_line(
    corpus, tmp_path, changes, words
):
    if "train_epochs" in changes:
        changes = {"train_steps": 0} | changes
    with pytest.raises(InputError, match=words) as refused:
        loop.train(tiny.config(corpus.folder, **changes), tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run" / "checkpoints").exists()


# As a user meets them.
QUICKSTART = "configs/quickstart.py"
MISTAKES = {
    "unknown key": ((QUICKSTART, "{}", "--config.hiden_size=3"), "hiden_size"),
    "wrong type": ((QUICKSTART, "{}", "--config.train_steps=many"), "train_steps"),
    "missing config": (("configs/nothing.py", "{}"), "configs/nothing.py"),
    "no devices": ((QUICKSTART, "{}", "--memory_on=0"), "--memory-on/--memory_on: '0'"),
    "unknown flag": ((QUICKSTART, "{}", "--stepz=3"), "stepz"),
    "no such precision": (
        (QUICKSTART, "{}", "--config.precision=fp8", "--config.corpus={corpus}"),
        "fp32",
    ),
    "a file as workdir": (
        (QUICKSTART, "/dev/null/run", "--config.corpus={corpus}"),
        "--workdir /dev/null/run",
    ),
}


def command_line(kind, corpus, folder):
    arguments, words = MISTAKES[kind]
    fill = {"corpus": corpus.folder}
    config_file, workdir, *changes = (
        a.replace("{}", str(folder)).format(**fill) for a in arguments
    )
    return [f"--config={config_file}", f"--workdir={workdir}", *changes], words


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_on_the_command_line_is_one_line_and_a_status(
    kind, corpus, tmp_path, command, monkeypatch
):
    monkeypatch.chdir(ROOT)
    arguments, words = command_line(kind, corpus, tmp_path)
    done = command(lambda: cli.run("train"), *arguments)
    assert done.status in (1, 2)
    (line,) = done.err.strip().splitlines()
    assert words in line
    assert "Traceback" not in line


def test_a_mistake_in_a_process_of_its_own(corpus, tmp_path):
    arguments, words = command_line("no such precision", corpus, tmp_path)
    done = in_a_process("train.py", *arguments)
    assert done.status == 2
    (line,) = done.err.strip().splitlines()
    assert words in line
