"""A config that is none is refused in one line that says what is wrong with it."""

import pytest

from sdjax.errors import InputError
from sdjax.training.config.load import load

FILES = {
    "a syntax error": ("def get_config(:\n", r"c\.py:1: invalid syntax"),
    "nothing": ("x = 1\n", "has no function get_config"),
    "a dictionary": ("def get_config():\n    return {}\n", "returns a ConfigDict"),
    "none": ("def get_config():\n    pass\n", "returns a ConfigDict"),
    "an error": ("def get_config():\n    return 1 / 0\n", r"c\.py:2: division by zero"),
    "an error at once": ("import nothing_of_that_name\n", "nothing_of_that_name"),
    "another config": (
        "from ml_collections import ConfigDict\n"
        "def get_config():\n    return ConfigDict({'a': 1})\n",
        "unknown config key: a",
    ),
    "a value of another type": (
        "from sdjax.training.config import defaults\n"
        "def get_config():\n    c = defaults.get_config()\n    c.seed = 'x'\n"
        "    return c\n",
        "seed",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file(tmp_path, kind):
    content, words = FILES[kind]
    (tmp_path / "c.py").write_text(content)
    with pytest.raises(InputError, match=words) as refused:
        load(str(tmp_path / "c.py"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["c.json", "c.yaml", "c"])
def test_a_file_of_another_kind(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match="a config is a Python file"):
        load(str(tmp_path / name))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("--config.modle.hidden_size=3", "modle.hidden_size; the nearest are model"),
        ("--config.modle=3", "unknown config key: modle"),
        ("--config.model=3", "config.model"),
        ("--config.model.hidden_size=", "hidden_size"),
        ("--config.train_steps=1e3", "train_steps"),
        ("--config.loss_scale.kinds=static", "loss_scale.kinds"),
    ],
)
def test_a_key_or_a_value_of_the_command_line(override, words):
    with pytest.raises(InputError, match=words) as refused:
        load("default", [override])
    assert "\n" not in str(refused.value)
