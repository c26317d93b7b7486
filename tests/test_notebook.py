"""The notebook for first steps runs from top to bottom, and shows pictures and numbers."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "first-steps.ipynb"


def test_no_outputs_are_committed():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert [cell for cell in cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)] == []


@pytest.mark.ray
def test_it_runs_and_shows_what_it_promises(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")  # sockets have short names: 107 bytes
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(NOTEBOOK.parent))
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output["data"] for output in outputs if "data" in output]
    said = "\n".join(data.get("text/plain", "") for data in shown)
    sheets = [data["text/html"] for data in shown if "text/html" in data]
    assert [sheet.count("<img") for sheet in sheets] == [6, 2]
    assert sum("image/png" in data for data in shown) == 2
    scores = [float(number) for number in re.findall(r"PSNR ([\d.]+) dB", said)]
    assert len(scores) == 2
    assert 15 < scores[0] < scores[1] < 60  # half the scale keeps more
    assert "num_regrown=6" in shown[-1]["text/plain"]
    assert len(list(tmp_path.glob("regrow-*/regrown/*.jpg.jpg"))) == 6
