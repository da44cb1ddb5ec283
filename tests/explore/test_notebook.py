"""docs/notebook.ipynb: it runs, and what is kept of its run is small and whole."""

import json

import notebook
from documentation_run import furnish
from fixtures_run import in_a_process


def _outputs(cells) -> str:
    return json.dumps(
        [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]
    )


def test_the_notebook_of_the_docs_was_executed_and_is_small():
    assert notebook.NOTEBOOK.stat().st_size < 60_000
    kept = json.loads(notebook.NOTEBOOK.read_text())["cells"]
    code = [cell for cell in kept if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in code)
    assert "sdjax-text" in _outputs(kept) and '"error"' not in _outputs(kept)


def test_the_notebook_runs(tiny_run, tmp_path):
    """In a process of its own: what runs it leaves sockets behind."""
    furnish(tmp_path, tiny_run)
    out = tmp_path / "executed.ipynb"
    done = in_a_process(notebook.__file__, out, cwd=tmp_path)
    assert done.status == 0, done.err
    assert "sdjax-text" in _outputs(json.loads(out.read_text())["cells"])
