"""Imports go one way: what docs/architecture.md says about the wings."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sdjax"
# In the order in which a review becomes a report.
WINGS = "data prepare model checkpoints training features probe report".split()
WINGS += "inference finetune study explore commands".split()
GROUND = {
    "errors",
    "files",
    "terminal",
    "arguments",
    "integrity",
    "locks",
    "ranges",
    "portable",
    "bounds",
}
# Wings that one does not import although they come before it.
STRANGERS = {
    "model": {"data", "prepare"},
    "checkpoints": {"prepare"},
    "training": {"prepare"},
    "features": {"prepare", "training"},
    "probe": {"prepare", "checkpoints", "training"},
    "report": {"prepare", "training"},
    "inference": {"prepare", "training", "probe"},
    "finetune": {"prepare", "report", "inference"},
    "study": {"inference", "finetune"},
    "explore": {"prepare", "training", "probe", "finetune", "study"},
}
WITHOUT_JAX = ("data", "prepare", "probe")
FLAGS = {"absl", "ml_collections", "configs", "train"}


def imports(path: Path) -> set[str]:
    """Return what a file imports anywhere, `from a import b` as a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return found


def files(wing: str) -> list[Path]:
    return sorted((PACKAGE / wing).rglob("*.py"))


def first_level(names: set[str]) -> set[str]:
    """Return the wings, and files beside them, that some imports are from."""
    parts = (name.split(".") for name in names)
    found = {p[1] for p in parts if p[0] == "sdjax" and len(p) > 1}
    return found & {*WINGS, *GROUND, "cli"}


def test_a_wing_imports_only_the_wings_before_it_and_the_ground():
    for place, wing in enumerate(WINGS):
        for path in files(wing):
            above = first_level(imports(path)) - {*WINGS[: place + 1], *GROUND}
            assert not above, f"{path} imports {above}"


def test_a_wing_does_not_know_what_it_need_not():
    for wing, strangers in STRANGERS.items():
        for path in files(wing):
            known = first_level(imports(path)) & strangers
            assert not known, f"{path} imports {known}"


def test_the_first_level_is_the_wings_the_ground_and_the_command():
    names = {path.stem for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert names == {*WINGS, *GROUND, "cli", "__init__"}


def test_the_ground_knows_no_wing():
    for name in GROUND:
        assert first_level(imports(PACKAGE / f"{name}.py")) <= GROUND, name


def test_reading_preparing_and_probing_do_without_jax():
    paths = [path for wing in WITHOUT_JAX for path in files(wing)]
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in paths]
    code = f"import {', '.join(['sys', *names])}; sys.exit('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_only_training_and_studies_read_configs_and_nothing_imports_a_script():
    for path in PACKAGE.rglob("*.py"):
        read = {name.split(".")[0] for name in imports(path)} & FLAGS
        if any(path.is_relative_to(PACKAGE / wing) for wing in ("training", "study")):
            read -= {"absl", "ml_collections"}
        assert not read, f"{path} imports {read}"
