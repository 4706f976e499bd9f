"""The notebooks of examples/notebooks/: every cell runs, and what they show is stored with them.

``WAFERLOOM_UPDATE=1`` writes what comes out.
"""

import os
from pathlib import Path

import pytest
from conftest import ROOT

nbformat = pytest.importorskip("nbformat", reason="the extra `notebook` is not installed; CI installs it")
nbclient = pytest.importorskip("nbclient", reason="the extra `notebook` is not installed; CI installs it")

NOTEBOOKS = sorted((ROOT / "examples/notebooks").glob("*.ipynb"))
MOST_BYTES = 600_000


def test_there_are_four() -> None:
    assert [path.stem.partition("_")[0] for path in NOTEBOOKS] == ["01", "02", "03", "04"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the text says is asserted in the cells, so that it is held as well."""
    # The kernel's own choice shows figures where the reader is.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=None, kernel_name="python3").execute(cwd=str(path.parent))
    assert figures(notebook.cells), "no figure was drawn"
    if os.environ.get("WAFERLOOM_UPDATE"):
        nbformat.write(without_times(notebook), path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_readers_see_what_came_out(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    last = [number for number, cell in enumerate(code) if figures([cell])][-1]
    assert last >= len(code) - 2, "it ends with a figure"
    assert path.stat().st_size < MOST_BYTES


def figures(cells: list) -> list:
    """Pictures among the outputs of cells."""
    return [output for cell in cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]


def without_times(notebook):  # type: ignore[no-untyped-def]
    """Times of the run change from run to run and tell nobody anything."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook
