"""`optiscale evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from optiscale.errors import UserError

if TYPE_CHECKING:
    from optiscale.dataset.split import Part


def run(folder: Path, *, part: str) -> None:
    """Evaluate a run on a part of its data set."""
    chosen: dict[str, Part] = {"validation": "validation", "test": "test"}
    if part not in chosen:
        raise UserError(f"--part {part}: must be validation or test")
    if not (folder / "record.json").exists():  # said before anything is imported
        raise UserError(f"{folder}: no run here (record.json is missing); name one, as results/demo/cells/<cell>")
    from optiscale.cli.report import report_predictions

    made = report_predictions([folder], folder / part, part=chosen[part])
    for path in made:
        if path.suffix == ".md":
            typer.echo(path.read_text(encoding="utf-8"))
    typer.echo(f"{folder / part}: {len(made)} files")
