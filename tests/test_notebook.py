"""The notebook in examples/: it is committed with its pictures, and, slowly, runs."""

import os

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support import repository

_PATH = os.path.join(repository.ROOT, "examples", "adapt_your_photos.ipynb")
_SHORTER = {
    "IMAGES = 200": "IMAGES = 5",
    '"256x128"': '"64x32"',
    "SOURCE_STEPS = 600": "SOURCE_STEPS = 2",
    "ROUNDS = 3": "ROUNDS = 1",
    "STEPS_PER_ROUND = 60": "STEPS_PER_ROUND = 2",
}


def _list_outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def _count_pictures(notebook):
    return sum("image/png" in output.get("data", {}) for output in _list_outputs(notebook))


def test_the_notebook_has_its_outputs():
    notebook = nbformat.read(_PATH, 4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert _count_pictures(notebook) == 4
    assert os.path.getsize(_PATH) < 2_000_000


@pytest.mark.slow
def test_the_notebook_runs(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", repository.ROOT)
    notebook = nbformat.read(_PATH, 4)
    settings = next(cell for cell in notebook.cells if cell.cell_type == "code")
    for old, new in _SHORTER.items():
        assert old in settings.source
        settings.source = settings.source.replace(old, new)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    assert _count_pictures(notebook) == 4
    text = "".join(output.get("text", "") for output in _list_outputs(notebook))
    assert "Written: mine.gin" in text and "Traceback" not in text
