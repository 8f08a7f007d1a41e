"""Every notebook runs from top to bottom in an empty folder, shows its figures, and is committed without outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
FIGURES = {"01_data.ipynb": 5, "02_scaling_laws.ipynb": 3, "03_your_own_study.ipynb": 2}


def _run(name: str, folder: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def _n_pictures(notebook: nbformat.NotebookNode) -> int:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def _warnings(notebook: nbformat.NotebookNode) -> list[str]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [output["text"] for output in outputs if output.get("name") == "stderr"]
    # tqdm, which matminer and Lightning use, warns where ipywidgets is not installed; its bars are then plain text
    return [text for text in texts if "Warning" in text and "TqdmWarning" not in text]


def test_every_notebook_is_listed() -> None:
    assert sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")) == sorted(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_notebook_is_committed_without_outputs(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("name", FIGURES)
def test_notebook_runs_and_shows_its_figures(name: str, tmp_path: Path) -> None:
    _write_own_runs(tmp_path / "results" / "demo")
    notebook = _run(name, tmp_path)
    assert _n_pictures(notebook) == FIGURES[name]
    assert not _warnings(notebook)


def _write_own_runs(folder: Path) -> None:
    """What `make demo` leaves, as far as the laws read it."""
    runs = pd.DataFrame(
        [
            {"model": "OptiMetal2B-TC", "D": D, "N": 278275, "seed": seed, "val_loss": 2 * (8 / D) ** 0.2 + 0.01 * seed}
            for D in (8, 16, 32, 64)
            for seed in (1, 2)
        ]
    )
    folder.mkdir(parents=True)
    runs.to_parquet(folder / "runs.parquet")
