"""The notebook of docs/, executed: `make notebook` runs this file to write it anew.

`python tests/notebook.py OUT` writes it elsewhere.
"""

import sys
from pathlib import Path

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"


def execute(folder: Path):
    """Return the notebook, executed in a folder; an error of a cell is raised."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(
        notebook, timeout=300, resources=where, record_timing=False
    ).execute()
    return notebook


if __name__ == "__main__":
    import nbformat

    out = sys.argv[1] if len(sys.argv) > 1 else NOTEBOOK
    nbformat.write(execute(Path.cwd()), out)
