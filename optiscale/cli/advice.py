"""`optiscale forecast`, `optiscale frontier` and `optiscale next`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from optiscale.cli.laws import _folder, _table

if TYPE_CHECKING:
    import pandas as pd

    from optiscale.laws import StudyFits


def forecast(
    runs: Sequence[Path],
    *,
    data: Sequence[int],
    params: Sequence[int],
    target: float | None,
    loss: str | None,
    by: str | None,
    out: Path | None,
) -> None:
    """Print losses at sizes not yet run, sizes that reach a loss, and gains; write them as tables."""
    from optiscale.advice import forecast as answer
    from optiscale.advice import frame_of
    from optiscale.advice.tables import gain_table, loss_table, target_table

    found = answer(_averages(runs, loss, by), D=data, N=params, target=target)
    tables: dict[str, tuple[str, pd.DataFrame]] = {}
    if found.losses:
        tables["losses"] = loss_table(found.losses), frame_of(found.losses)
    if found.targets:
        tables["targets"] = target_table(found.targets), frame_of(found.targets)
    if found.gains:
        tables["gains"] = gain_table(found.gains), frame_of(found.gains)
    _write(tables, out or _folder(runs) / "forecast", found.fits)


def _averages(runs: Sequence[Path], loss: str | None, by: str | None) -> pd.DataFrame:
    from optiscale.laws import average_seeds, read_losses

    return average_seeds(read_losses([_table(path) for path in runs], loss=loss, by=by))


def _write(tables: dict[str, tuple[str, pd.DataFrame]], folder: Path, fits: StudyFits) -> None:
    """Print every table and write it as CSV."""
    from optiscale.io import atomic_write

    for name, (text, frame) in tables.items():
        typer.echo(text + "\n")
        with atomic_write(folder / f"{name}.csv", "w") as stream:
            frame.to_csv(stream, index=False)
    for note in fits.notes:
        typer.echo(f"- {note}")
    typer.echo(f"{folder}: {', '.join(f'{name}.csv' for name in tables)}")
