"""What may import what, as docs/architecture.md says."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sdjax"
# Readable, and quick to import, on a machine without an accelerator stack.
WITHOUT_JAX = (
    "text",
    "protein",
    "readreport",
    "streams",
    "readers",
    "sources",
    "blocks",
    "synthetic_words",
    "synthetic",
    "corpus",
    "workers",
    "segments",
    "shards",
    "plan",
    "workfolder",
    "prepare",
    "windows",
    "prefetch",
    "spark",
    "corpusstats",
    "lengthfigure",
    "packed",
    "featureparquet",
    "featureforms",
    "featurefile",
    "featurework",
    "linear",
    "classifier",
    "targets",
    "sweep",
    "topunit",
    "probe",
    "bagofwords",
    "efficiency",
    "look",
    "figures",
    "comparison",
    "tracing",
    "coloured_text",
    "spans",
    "utf8",
    "terminal",
    "rowfile",
    "explain",
    "textbatches",
    "tables",
    "page",
    "report",
)
# What each of these may import from the package, besides `errors`.
ARROWS = {
    "errors": set(),
    "text": {"protein"},
    "protein": set(),
    "readreport": set(),
    "streams": {"readreport"},
    "readers": {"readreport", "streams"},
    "sources": {"readers", "readreport", "streams"},
    "blocks": {"readers", "readreport", "sources", "streams"},
    "synthetic_words": set(),
    "synthetic": {"sources", "synthetic_words"},
    "corpus": {"sources", "text"},
    "workers": set(),
    "segments": {"blocks", "readreport", "text"},
    "shards": {"readreport", "segments"},
    "plan": {"corpus", "segments", "shards", "text"},
    "workfolder": {"corpus", "workers"},
    "prepare": {
        "blocks",
        "corpus",
        "plan",
        "readreport",
        "segments",
        "shards",
        "sources",
        "text",
        "workers",
        "workfolder",
    },
    "spark": {
        "blocks",
        "corpus",
        "plan",
        "prepare",
        "readers",
        "readreport",
        "segments",
        "shards",
        "sources",
        "streams",
        "workfolder",
    },
    "corpusstats": {"corpus", "protein"},
    "lengthfigure": {"corpusstats", "look"},
    "windows": {"corpus"},
    "prefetch": set(),
    "hosts": {"checkpoint", "interrupt", "recurrence", "step"},
    "cell": set(),
    "recurrence": {"cell"},
    "precision": {"cell"},
    "optim": set(),
    "metrics": set(),
    "classifier": set(),
    "linear": set(),
    "targets": {"featurefile"},
    "sweep": {"classifier", "linear", "targets"},
    "topunit": {"featurefile", "linear", "targets"},
    "probe": {"classifier", "featurefile", "linear", "sweep", "targets", "topunit"},
    "bagofwords": {"linear", "sweep", "targets"},
    "efficiency": {"bagofwords", "linear", "sweep", "targets"},
    "look": set(),
    "figures": {"look"},
    "comparison": {"look"},
    "tracing": set(),
    "coloured_text": {"look", "tracing"},
    "utf8": set(),
    "terminal": set(),
    "rowfile": set(),
    "explain": {"classifier", "terminal", "tracing"},
    "textbatches": set(),
    "generate": {"cell", "model", "precision", "protein", "text", "utf8"},
    "headstep": {"cell", "model", "optim", "step"},
    "spans": {"coloured_text"},
    "packed": set(),
    "featureparquet": {"packed"},
    "featureforms": {"featureparquet"},
    "featurefile": {"featureforms", "packed"},
    "featurework": {"featureforms", "packed", "sources"},
    "pooling": {"cell"},
    "initial": {"checkpoint", "model"},
    "convert/unpickle": set(),
    "convert/torchfile": set(),
    "convert/staging": set(),
    "convert/card": {"text"},
    "convert/imported": {"classifier", "model", "text"},
    "convert/openai": {"model", "text"},
    "convert/nvidia": {"model", "text"},
    "convert/nvidia_classifier": {"classifier", "model"},
    "convert/unirep": {"model", "protein", "text"},
    "convert/published": {"model", "text"},
    "convert/hub": set(),
    "convert/converted": {"checkpoint", "orbax_failures"},
    "model": {"cell", "pooling", "recurrence", "precision"},
    "devices": {"cell", "model", "step", "windows"},
    "offload": {"cell", "devices", "model", "precision", "step", "windows"},
    "step": {"cell", "model", "precision", "optim", "windows"},
}
FORBIDDEN = {"absl.flags", "absl.app", "ml_collections", "configs", "train"}


def imported_modules(path: Path) -> set[str]:
    """Return what a file imports anywhere, with `from a import b` as a and a.b."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            modules |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return modules


def rooms_imported(name: str) -> set[str]:
    parts = (m.split(".") for m in imported_modules(PACKAGE / f"{name}.py"))
    found = {p[1] for p in parts if p[0] == "sdjax" and len(p) > 1}
    return {room for room in found if (PACKAGE / f"{room}.py").exists()}


@pytest.mark.parametrize("name", ARROWS)
def test_rooms_import_only_what_the_map_allows(name):
    assert rooms_imported(name) - {"errors"} <= ARROWS[name]


@pytest.mark.parametrize("name", WITHOUT_JAX)
def test_rooms_without_jax_do_not_import_it_by_name(name):
    roots = {m.split(".")[0] for m in imported_modules(PACKAGE / f"{name}.py")}
    assert not roots & {"jax", "flax", "optax", "orbax"}


def test_rooms_without_jax_do_not_import_it_through_others():
    names = [f"sdjax.{name}" for name in WITHOUT_JAX]
    code = (
        f"import sys, {', '.join(names)}; print([m for m in sys.modules if m == 'jax'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_the_package_reads_neither_flags_nor_configs(path):
    modules = imported_modules(path)
    assert not {
        m for m in modules if any(m == f or m.startswith(f + ".") for f in FORBIDDEN)
    }
