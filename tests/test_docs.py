"""README and docs/: what they say can be done, and every link leads somewhere."""

import argparse
import re
import tomllib
from pathlib import Path

import documentation
import pytest
from documentation import MEASUREMENTS, PAGES, ROOT, Command, anchors, blocks, prose
from documentation_run import furnish, not_run, run_here, smaller

from sdjax import cli
from sdjax.training.config.checks import check
from sdjax.training.config.load import keys_of, load, names

COMMANDS = [command for page in PAGES for command in documentation.commands(page)]
OURS = [command for command in COMMANDS if command.ours]
NAMES = [page.name if page.parent != ROOT else "the README" for page in PAGES]
ONE_PAGE = pytest.mark.parametrize("page", PAGES, ids=NAMES)


def named(command: Command) -> str:
    return f"{command.page}: {' '.join(command.words)}"


# -- every command


# Flags of XLA for GPUs, which a CPU's compiler does not list.
XLA_FLAGS = (
    "enable_command_buffer",
    "command_buffer_unroll_loops",
    "enable_dynamic_slice_fusion",
    "enable_latency_hiding_scheduler",
)


@pytest.mark.parametrize("command", OURS, ids=named)
def test_a_command_has_the_options_files_and_keys_that_it_says(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    if command.words[0] in ("python", "sbatch"):
        assert Path(command.words[1]).is_file()
    arguments, rest = cli.parse(
        cli.parser_of(command.ours[0], "sdjax"), command.ours[1:]
    )
    if "overrides" in arguments:
        check(load(arguments.config, rest))
    else:
        assert not rest


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.ours], ids=named)
def test_what_another_program_is_asked_for_is_there(command):
    program, *rest = command.words
    if program == "make":
        targets = re.findall(r"^(\S+?):", (ROOT / "Makefile").read_text(), re.M)
        assert set(rest) <= set(targets)
    elif program == "pip":
        assert rest[0] == "install"
        if "-c" in rest:
            assert (ROOT / rest[rest.index("-c") + 1]).is_file()
    elif program == "python" and rest[0] == "-m":
        module = Path(rest[1].replace(".", "/"))
        assert rest[1] == "pytest" or (ROOT / module).with_suffix(".py").is_file()
    elif program == "kubectl":
        assert (ROOT / rest[-1]).is_file()
    elif program == "uvicorn":
        name = rest[0].partition(":")[2]
        page = ROOT / "docs" / command.page
        assert any(f"\n{name} = " in block for block in blocks(page, "python"))
    else:
        assert command.words in {
            ("python3", "-m", "venv", ".venv"),
            (".", ".venv/bin/activate"),
        }


@ONE_PAGE
def test_options_keys_and_extras_that_the_prose_names_exist(page):
    quoted = " ".join(re.findall(r"`([^`]+)`", prose(page)))
    # Of the programs of others, and of pip.
    known = {f"--xla_gpu_{name}" for name in XLA_FLAGS}
    parsers = [cli.parser_of(name, "sdjax") for name in cli.COMMANDS]
    known |= set().union(*map(_options, parsers))
    known |= {"--sequences", "--spread", "--no-deps"}
    known |= {"--archives", "--files"}  # of Spark
    for option in re.findall(r"(?<!\S)(--[a-z][\w-]*)(?![\w.-])", quoted):
        assert option in known, option
    keys = keys_of(load("default"))
    for key in re.findall(r"--config\.([\w.]+)", quoted):
        assert key in keys, key
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for extra in re.findall(r"(?:sdjax|\.)\[(\w+)\]'", page.read_text()):
        assert extra in extras, extra


def _options(parser) -> set[str]:
    """The options of a parser and of all below it."""
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= set().union(*map(_options, action.choices.values()))
    return found


def test_every_config_is_in_the_table_of_training():
    text = (ROOT / "docs" / "training.md").read_text()
    assert not [name for name in names() if f"`{name}`" not in text]


# -- the commands that take no network, no cluster and no hours

# The README and the pages whose results others go on from; then the others.
WAY = [ROOT / "README.md", ROOT / "docs/data.md", ROOT / "docs/weights-and-proteins.md"]
WAY += [page for page in PAGES if page not in WAY and page.name not in MEASUREMENTS]


def walk() -> list[Command]:
    """Each command once; those of the quick start run in tests/test_readme.py."""
    quick_start = documentation.quick_start()
    done = {command.ours for command in COMMANDS if command.words in quick_start}
    found = []
    for page in WAY:
        for command in documentation.commands(page):
            if command.ours and command.ours not in done and not not_run(command):
                done.add(command.ours)
                found.append(command)
    return found


WALK = walk()


@pytest.fixture(scope="module")
def walked(tiny_run, tmp_path_factory):
    """The folder in which all of them ran, and each one's status and output."""
    folder = tmp_path_factory.mktemp("walk")
    furnish(folder, tiny_run)
    results = {}
    for command in WALK:
        results[command] = run_here(folder, smaller(command))
    return folder, results


@pytest.mark.parametrize("command", WALK, ids=named)
def test_a_command_runs(command, walked):
    status, printed = walked[1][command]
    assert status == 0, printed


@ONE_PAGE
def test_the_python_of_a_page_runs(page, walked, monkeypatch):
    monkeypatch.chdir(walked[0])
    for block in blocks(page, "python"):
        block = block.replace("units=[35]", "units=[1]")
        # A name on the hub takes a network.
        lines = [line for line in block.splitlines() if "someone/" not in line]
        scope = {}
        exec(compile("\n".join(lines), str(page), "exec"), scope)
        if "get_config" in scope:
            check(scope["get_config"]())


# -- their form


def test_the_readme_is_read_in_one_sitting():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda p: p.name)
def test_no_line_of_prose_is_over_88_columns(page):
    """Tables, images and addresses are as long as they must be."""
    for line in prose(page).splitlines():
        whole = line.startswith(("|", "![")) or " " not in line.strip()
        assert whole or len(line) <= 88, line


def test_the_index_names_every_page():
    index = (ROOT / "docs" / "README.md").read_text()
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", index))
    pages = {page.name for page in PAGES if page.parent != ROOT}
    assert linked == pages - {"README.md"}


@ONE_PAGE
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_no_picture_is_left_over():
    """What no page shows is not kept."""
    shown = "".join(page.read_text() for page in PAGES)
    pictures = (ROOT / "docs" / "images").glob("*.png")
    assert not [p.name for p in pictures if f"images/{p.name}" not in shown]
