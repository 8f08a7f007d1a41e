"""`optiscale forecast`, `optiscale frontier` and `optiscale next`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from optiscale.cli.laws import _folder, _table
from optiscale.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from optiscale.laws import Series


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
    from optiscale.laws import average_seeds

    found = answer(average_seeds(_losses(runs, loss, by)), D=data, N=params, target=target)
    tables: dict[str, pd.DataFrame] = {}
    if found.losses:
        typer.echo(loss_table(found.losses) + "\n")
        tables["losses"] = frame_of(found.losses)
    if found.targets:
        typer.echo(target_table(found.targets) + "\n")
        tables["targets"] = frame_of(found.targets)
    if found.gains:
        typer.echo(gain_table(found.gains) + "\n")
        tables["gains"] = frame_of(found.gains)
    _finish(tables, out or _folder(runs) / "forecast", found.fits.notes)


def frontier(
    runs: Sequence[Path],
    *,
    budgets: Sequence[float],
    cost: str | None,
    epochs: float | None,
    loss: str | None,
    by: str | None,
    out: Path | None,
) -> None:
    """Print the best N and D over budgets, write the table, and draw each network's."""
    import pandas as pd

    from optiscale.advice import cost_of, grids_of, ladder_of
    from optiscale.advice import frontier as best_sizes
    from optiscale.advice.tables import frontier_table
    from optiscale.figures.advice import draw_frontier
    from optiscale.laws import average_seeds

    table = _losses(runs, loss, by)
    folder = out or _folder(runs) / "frontier"
    frames, pictures = [], 0
    for series in grids_of(average_seeds(table)):
        model = cost_of(_rows_of(table, series), column=cost, epochs=epochs)
        found = best_sizes(series, model, [*budgets, *ladder_of(series, model)])
        typer.echo(f"{_name(series)}\n\n{frontier_table(found, asked=budgets)}\n")
        frames.append(found.frame())
        pictures += len(draw_frontier(found, folder, f"frontier_{_file_name(series)}", asked=budgets))
    _finish({"frontier": pd.concat(frames, ignore_index=True)}, folder, (), pictures=pictures)


def next_runs(
    runs: Sequence[Path],
    *,
    budget: float,
    answers: Sequence[str],
    data: Sequence[int],
    params: Sequence[int],
    cost: str | None,
    epochs: float | None,
    loss: str | None,
    by: str | None,
    out: Path | None,
) -> None:
    """Print the runs to make next, a network each, and write them as a table."""
    import pandas as pd

    from optiscale.advice import cost_of, plan_next, series_to_plan
    from optiscale.advice.tables import plan_table

    table = _losses(runs, loss, by)
    frames, refused = [], []
    for series in series_to_plan(table):
        made = _rows_of(table, series)
        model = cost_of(made, column=cost, epochs=epochs)
        try:
            plan = plan_next(series, model, budget, answers, made=made, D=data, N=params)
        except UserError as error:  # another network of the table may have the answer
            refused.append(error)
            continue
        typer.echo(f"{_name(series)}\n\n{plan_table(plan, model.unit)}\n- cost of a run: {model.source}\n")
        frames.append(plan.frame())
    if not frames:
        raise refused[0]
    notes = [f"no plan: {error}" for error in refused]
    _finish({"next": pd.concat(frames, ignore_index=True)}, out or _folder(runs) / "next", notes)


def _losses(runs: Sequence[Path], loss: str | None, by: str | None) -> pd.DataFrame:
    from optiscale.laws import read_losses

    return read_losses([_table(path) for path in runs], loss=loss, by=by)


def _rows_of(table: pd.DataFrame, series: Series) -> pd.DataFrame:
    """Take the runs that the series was made from."""
    mine = table["model"] == series.model
    return table[mine & (table["study"].astype(str) == series.study)] if "study" in table.columns else table[mine]


def _name(series: Series) -> str:
    return ", ".join(part for part in (series.study, series.model) if part)


def _file_name(series: Series) -> str:
    return re.sub(r"[^\w.+-]+", "_", _name(series))


def _finish(tables: Mapping[str, pd.DataFrame], folder: Path, notes: Sequence[str], *, pictures: int = 0) -> None:
    """Write every table as CSV and say what was written."""
    from optiscale.io import atomic_write

    for name, frame in tables.items():
        with atomic_write(folder / f"{name}.csv", "w") as stream:
            frame.to_csv(stream, index=False)
    for note in notes:
        typer.echo(f"- {note}")
    drawn = f" and {pictures} pictures" if pictures else ""
    typer.echo(f"{folder}: {', '.join(f'{name}.csv' for name in tables)}{drawn}")
