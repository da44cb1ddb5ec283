"""Configs by name or path, with what the command line changes in them."""

import difflib
import importlib.util
import traceback
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

import sdjax
from sdjax.errors import InputError
from sdjax.training.config import defaults


def folder() -> Path:
    """Return where the configs lie: inside an installed package, or beside it."""
    package = Path(sdjax.__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def names() -> list[str]:
    """Return the names of the configs that come with the package."""
    return sorted(path.stem for path in folder().glob("[a-z]*.py"))


def named(name: str) -> ConfigDict:
    """Return one of the configs that come with the package.

    Raises:
        InputError: there is none of that name.
    """
    if name not in names():
        raise InputError(
            f"--config {name}: no such file, and no config of that name; give a file"
            f" in .py, or one of {', '.join(names())}"
        )
    return from_file(folder() / f"{name}.py")


def load(name_or_path: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Return a config, changed by the command line; its keys are those of the defaults.

    Args:
        name_or_path: a Python file with `get_config`, which is run, or the name of a
            config that comes with the package.
        overrides: such as "--config.model.hidden_size=512".

    Raises:
        InputError: there is no such config, it does not run, or it has other keys than
            the defaults; a key or the type of its value is wrong.
    """
    path = Path(name_or_path)
    if path.suffix == ".py" or path.exists():
        config = from_file(path)
    else:
        config = named(name_or_path)
    return overridden(config, overrides)


def from_file(path: Path) -> ConfigDict:
    """Run a config file and return its config; raises as `load`."""
    if not path.is_file():
        raise InputError(f"--config {path}: no such file")
    if path.suffix != ".py":
        raise InputError(f"--config {path}: a config is a Python file, in .py")
    spec = importlib.util.spec_from_file_location(f"sdjax_config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config() if hasattr(module, "get_config") else None
    except InputError:
        raise
    except Exception as error:  # whatever a user's program may raise
        reason = f"{_where(error, path)}: {_one_line(error)}"
        raise InputError(f"--config {reason}") from error
    if not isinstance(config, ConfigDict):
        raise InputError(
            f"--config {path}: has no function get_config that returns a ConfigDict;"
            " start from sdjax.training.config.defaults.get_config()"
        )
    expected, found = keys_of(defaults.get_config()), keys_of(config)
    if unknown := [key for key in found if key not in expected]:
        raise InputError(f"--config {path}: unknown config key: {unknown[0]}")
    if missing := [key for key in expected if key not in found]:
        raise InputError(
            f"--config {path}: has no {missing[0]}; start from"
            " sdjax.training.config.defaults.get_config()"
        )
    return config


def overridden(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """Return a config with some of its keys set from the command line.

    Raises:
        InputError: there is no such key, or its value is of another type.
    """
    keys = keys_of(config)
    for override in overrides:
        if not override.startswith("--config."):
            continue
        key = override.removeprefix("--config.").partition("=")[0]
        if key not in keys and not isinstance(config.get(key), ConfigDict):
            near = difflib.get_close_matches(key, keys, n=3, cutoff=0.5)
            raise InputError(
                f"unknown config key: {key};"
                + (f" the nearest are {', '.join(near)};" if near else "")
                + " --print-config prints them all"
            )
    argv, values = ["sdjax train", *overrides], flags.FlagValues()
    try:
        config_flags.DEFINE_config_dict(
            "config", config, flag_values=values, sys_argv=argv
        )
        rest = values(argv)[1:]
    except (flags.Error, TypeError, ValueError) as error:
        raise InputError(_one_line(error)) from error
    if rest:
        raise InputError(f"unexpected argument {rest[0]!r}: values follow --flags")
    return values["config"].value


def keys_of(config: ConfigDict) -> list[str]:
    """Return the dotted names of all values, in their order."""
    found = []
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            found += [f"{key}.{inner}" for inner in keys_of(value)]
        else:
            found.append(key)
    return found


def _where(error: Exception, path: Path) -> str:
    """Name the file, and the line in it that raised."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _one_line(error: Exception) -> str:
    """Join a message of several lines to one."""
    return " ".join(str(error).split()) or type(error).__name__
