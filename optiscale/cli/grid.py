"""`optiscale grid`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from optiscale.config import Study, load_study
from optiscale.errors import UserError


def run(path: Path, *, dry_run: bool, fresh: bool, yes: bool, overrides: Sequence[str], out: Path | None) -> None:
    """Run or plan a study."""
    study = load_study(path, overrides)
    folder = out or study.default_folder()
    if dry_run:
        _show_plan(study)
        return
    if fresh:
        _remove(folder, yes=yes)
    from optiscale.cli.finished import is_complete, mark_complete

    if is_complete(study, folder):
        typer.echo(f"{folder}: every cell has its result, and the figures are drawn; nothing to do")
        return
    from optiscale.cli.report import report_study
    from optiscale.sweep import run_grid

    result = run_grid(study, folder)
    made = report_study(folder)
    failed = result.runs[result.runs["status"] != "finished"]
    if failed.empty:
        mark_complete(study, folder, made)
    for row in failed.itertuples():
        typer.echo(f"{row.cell}: {row.status}: {row.message}")
    typer.echo(f"{folder}: {len(result.runs)} runs ({result.ran} new, {len(failed)} not finished), {len(made)} files")


def _remove(folder: Path, *, yes: bool) -> None:
    if not folder.exists():
        return
    if not (folder / "study.yaml").exists():
        raise UserError(
            f"{folder}: is no results folder (no study.yaml), so --fresh leaves it alone; name another --out"
        )
    if not yes and not typer.confirm(f"Remove all results in {folder}?"):
        raise UserError(f"{folder}: kept; run without --fresh to go on from it")
    shutil.rmtree(folder)


def _show_plan(study: Study) -> None:
    from optiscale.sweep.forecast import forecast

    planned = forecast(study)
    table = Table("model", "width", "N", "D", "runs", "seconds a run", "seconds", box=None)
    for row in planned.rows:
        width = "" if row.width is None else str(row.width)
        table.add_row(
            row.model, width, f"{row.N:,}", f"{row.D:,}", str(row.runs), f"{row.seconds:.3g}",
            f"{row.seconds * row.runs:.3g}",
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(
        f"{planned.cells} cells, estimated {_duration(planned.total / study.sweep.workers)} on this machine "
        f"with {study.sweep.workers} worker(s)",
        highlight=False,
    )
    for note in planned.notes:
        console.print(note, highlight=False)


def _duration(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.1f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} days"
