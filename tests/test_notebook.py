"""The notebook of the examples runs from top to bottom, and is stored without output."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from outside import Outside
from places import EXAMPLE

NOTEBOOK = EXAMPLE.parent / "notebook" / "tantalum.ipynb"


def test_it_is_stored_without_output():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the kernel and its sockets
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, matplotlib: None, outside: Outside):
    for name in ("nbclient", "nbformat", "ipykernel"):
        outside.library(name)
    import nbclient
    import nbformat

    folder = tmp_path / "notebook"
    folder.mkdir()
    shutil.copytree(EXAMPLE, tmp_path / EXAMPLE.name)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONWARNINGS", "")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    text = "\n".join(output.get("text", "") for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert any("text/markdown" in output.get("data", {}) for output in outputs)
    assert "relaxed: -8." in text  # eV/atom; the cohesive energy of the data is 8.09
    assert "Loop time" in text
    assert [output for output in outputs if output.get("name") == "stderr"] == []
