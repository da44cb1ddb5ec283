"""docs/notebook.ipynb: it runs, and what is kept of its run is small and whole."""

import json

import notebook
import pytest
from documentation_run import furnish


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


@pytest.mark.filterwarnings("default")  # of the packages that run it
def test_the_notebook_runs(tiny_run, tmp_path):
    furnish(tmp_path, tiny_run)
    done = notebook.execute(tmp_path)
    assert "sdjax-text" in _outputs(done["cells"])
