"""docs/python.md and docs/notebook.ipynb: every snippet and every cell runs, on a run that is kept."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

PAGE, NOTEBOOK = ROOT / "docs" / "python.md", ROOT / "docs" / "notebook.ipynb"
KEPT = ROOT / "tests" / "runs" / "1-code-versions"
MOST_LINES = 10  # of a snippet


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the demo's run, beside the checkout."""
    shutil.copytree(KEPT, tmp_path / "results" / "digits" / "long-tail")
    (tmp_path / "vision-ablation").symlink_to(ROOT)
    return tmp_path


def test_every_snippet_of_the_page_runs_and_says_something(place: Path) -> None:
    snippets = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(snippets) >= 4
    assert max(snippet.count("\n") for snippet in snippets) < MOST_LINES
    # what stands beside the script comes first on its path, as in a notebook
    (place / "script.py").write_text("\n".join(snippets), encoding="utf-8")
    (place / "datasets.py").touch()
    done = subprocess.run([sys.executable, "script.py"], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "too few runs" in done.stdout
    assert "['ranking', 'ablation', " in done.stdout
    assert (place / "figures" / "forest.svg").read_text(encoding="utf-8").startswith("<svg")
    assert (place / "figures" / "forest.html").stat().st_size > 100_000


def test_the_notebook_runs_and_shows_tables_and_a_figure(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN_DIR", str(place / "results" / "digits" / "long-tail"))
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))  # nothing of the user's is read or written
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    shown = ["".join(str(output["data"]) for output in cell.outputs) for cell in notebook.cells if "outputs" in cell]
    assert "trials: 2 finished" in shown[1]
    assert "too few runs" in shown[2]
    assert "image/svg+xml;base64" in shown[3]
    assert all(shown[1:])


def test_the_notebook_holds_no_output() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert len(code) >= 5
    assert [cell.source for cell in code if cell.outputs or cell.execution_count] == []
    assert max(cell.source.count("\n") for cell in code) < MOST_LINES
