"""`optiscale fit` and `optiscale plot`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from optiscale.errors import UserError

if TYPE_CHECKING:
    from optiscale.laws import StudyFits
    from optiscale.laws.points import Weights
    from optiscale.laws.robust import Cost
    from optiscale.laws.search import Space


def fit(
    runs: Sequence[Path],
    *,
    out: Path | None,
    published: bool,
    loss: str | None,
    by: str | None,
    weights: str,
    cost: str,
    space: str,
    reach: float,
) -> None:
    """Fit every series of the given tables, print the tables and write them."""
    from optiscale.laws import FitOptions, average_seeds, fit_study, read_losses, write_tables

    averages = average_seeds(read_losses([_table(path) for path in runs], loss=loss, by=by))
    if not reach > 1:
        raise UserError(f"fit: reach {reach:g} must be above 1: the factor in size by which to extrapolate")
    if published:
        fits = fit_study(averages, protocol="published")
    else:
        options = FitOptions(weights=cast("Weights", weights), cost=cast("Cost", cost), space=cast("Space", space))
        fits = fit_study(averages, options=options, reach=reach)
    folder = out or _folder(runs)
    fits.save(folder / "fits.json")
    tables = write_tables(fits, folder / "tables")
    for table in tables:
        if table.suffix == ".md":
            typer.echo(table.read_text(encoding="utf-8"))
    typer.echo(f"{folder}: fits.json and {len(tables)} tables")


def plot(runs: Sequence[Path], *, published: bool, out: Path | None) -> None:
    """Draw a study, or the paper's figures with a study over them."""
    from optiscale.figures.report import draw_all, draw_published
    from optiscale.laws import read_table

    if published:
        folder = out or Path("results/published")
        made = draw_published(folder, _fits(runs) if runs else None)
    else:
        if not runs:
            raise UserError("plot: name a table of runs or a results folder, or ask for --published")
        folder = out or _folder(runs) / "figures"
        curves = _folder(runs) / "curves.parquet"
        made = draw_all(_fits(runs), read_table(curves) if curves.exists() else None, folder)
    typer.echo(f"{folder}: {len(made)} files")


def _fits(runs: Sequence[Path]) -> StudyFits:
    from optiscale.laws import average_seeds, fit_study, read_losses

    return fit_study(average_seeds(read_losses([_table(path) for path in runs])))


def _table(path: Path) -> Path:
    if not path.is_dir():
        return path
    if (path / "cells").exists() and not (path / "runs.parquet").exists():
        raise UserError(f"{path}: the grid has not finished a run here; run `optiscale grid` again to go on")
    return path / "runs.parquet"


def _folder(runs: Sequence[Path]) -> Path:
    return runs[0] if runs[0].is_dir() else runs[0].parent
